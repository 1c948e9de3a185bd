-- rouse: the sweep looks at an upload that is due.
-- KEYS     intake work parts due events filling telling
-- ARGV     upload_id slack_ms rewake_ms rewake_max_ms forgiven_ms
-- RETURNS  gone | held | early | failed | idle | wake | expired
-- MOVES    receiving -> receiving aborting; received -> received; completing -> completing; aborting -> aborting; failed -> failed aborting
-- FLAGS    allow-oom
-- Only the client's silence expires an upload: never one that is held, nor bytes that are ours
-- to store, nor while silence is forgiven. "wake" and "expired" ask the caller to send a wake-up.
local t = now()
local forgiven_until = t + num(arg.forgiven_ms)
local intake = read_intake(key.intake)
if not intake.state or ended(intake.state) then
  redis.call('ZREM', key.due, arg.upload_id)
  return {'gone'}
end
local work = read_work(key.work)
if work.owner ~= '' and num(work.lease_until) > t then
  due_at(key.due, arg.upload_id, num(work.lease_until) + num(arg.slack_ms))
  return {'held'}
end
if num(redis.call('ZSCORE', key.due, arg.upload_id)) > t then return {'early'} end
if intake.state == 'failed' then
  local failed_until = math.max(num(work.failed_until), forgiven_until)
  if t < failed_until then
    due_at(key.due, arg.upload_id, failed_until)
    return {'failed'}
  end
  abort(key, arg.upload_id, intake, work, 'expired', t + num(arg.rewake_ms))
  return {'expired'}
end
if runnable(intake, work) then
  local rewakes = num(work.rewakes)
  local pause = math.min(num(arg.rewake_ms) * 2 ^ math.min(rewakes, 20), num(arg.rewake_max_ms))
  put(key.work, 'scheduled', 1, 'rewakes', rewakes + 1)
  due_at(key.due, arg.upload_id, t + pause)
  return {'wake'}
end
local expires_at = math.max(num(intake.expires_at), forgiven_until)
if t >= expires_at then
  abort(key, arg.upload_id, intake, work, 'expired', t + num(arg.rewake_ms))
  return {'expired'}
end
put(key.work, 'scheduled', 0, 'owner', '', 'lease_until', 0)
due_at(key.due, arg.upload_id, expires_at)
return {'idle'}
