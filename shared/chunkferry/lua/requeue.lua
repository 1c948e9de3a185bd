-- requeue: give a failed upload another chance, from where it stopped.
-- KEYS     intake work due events joins telling
-- ARGV     upload_id token rewake_ms
-- RETURNS  requeued wake | unknown | closed state
-- MOVES    failed -> receiving received
-- FLAGS    allow-oom
-- "token" tells the same call, sent again after its answer was lost, from another one.
local intake = read_intake(key.intake)
if not intake.state then return {'unknown'} end
if intake.state ~= 'failed' then
  if redis.call('HGET', key.work, 'requeued_by') == arg.token then return {'requeued', 1} end
  return {'closed', intake.state}
end
local state = intake.received == intake.length and 'received' or 'receiving'
local t = now()
local expires_at = t + num(redis.call('HGET', key.intake, 'idle_ms'))
put(key.intake, 'expires_at', expires_at)
turn_to(key, arg.upload_id, intake, state)
local work = read_work(key.work)
local wake = runnable(intake, work)
put(key.work, 'requeued_by', arg.token, 'deaths', 0, 'attempts', 0, 'retry_at', 0, 'rewakes', 0, 'failed_until', 0,
  'error', '', 'error_code', '', 'scheduled', wake and 1 or 0, 'wanted_since', t)
due_at(key.due, arg.upload_id, wake and t + num(arg.rewake_ms) or expires_at)
redis.call('ZADD', key.joins, 'XX', int(t), arg.upload_id)
tell(key.events, intake, work)
return {'requeued', wake and 1 or 0}
