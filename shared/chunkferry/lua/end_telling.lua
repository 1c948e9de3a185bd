-- end_telling: let the turn go; an ended upload of which all is told is let go as well.
-- KEYS     intake work events path telling ended
-- ARGV     upload_id nonce told seen pause_ms ttl_ms least_ms idle_ms idle_max_ms
-- RETURNS  more | later | over | fenced
-- FLAGS    allow-oom
-- "seen" is the number of the newest change that the teller knew of; "pause_ms" is when to look
-- again, or -1 where all up to that one is told.
if redis.call('HGET', key.work, 'teller') ~= arg.nonce then return {'fenced'} end
put(key.work, 'told', arg.told, 'teller', '', 'teller_until', 0)
local intake = pick(key.intake, 'state', 'history', 'finished_at')
local t = now()
if newest(intake.history) > num(arg.seen) then
  redis.call('ZADD', key.telling, int(t), arg.upload_id)
  return {'more'}
end
local pause = num(arg.pause_ms)
if pause < 0 and ended(intake.state) then
  redis.call('ZREM', key.telling, arg.upload_id)
  local left = int(math.max(num(arg.least_ms), num(intake.finished_at) + num(arg.ttl_ms) - t))
  for _, name in ipairs({key.intake, key.work, key.events}) do
    redis.call('PEXPIRE', name, left)
  end
  redis.call('ZADD', key.ended, 'XX', int(t + num(left)), arg.upload_id)
  if redis.call('GET', key.path) == arg.upload_id then redis.call('PEXPIRE', key.path, left) end
  return {'over'}
end
-- A change makes the upload due at once. This look is for those that the last release makes.
if pause < 0 then
  local quiet = t - num(string.match(intake.history, '%d+$'))
  pause = math.min(math.max(quiet, num(arg.idle_ms)), num(arg.idle_max_ms))
end
redis.call('ZADD', key.telling, int(t + pause), arg.upload_id)
return {'later'}
