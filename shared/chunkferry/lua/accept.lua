-- accept: count the bytes that this transaction has just added to the stream as received.
-- KEYS     intake work due events filling telling
-- ARGV     upload_id start finish part_end crc32c rewake_ms told_every_ms
-- RETURNS  accepted wake | refused state received
-- MOVES    receiving -> receiving received
-- FLAGS    allow-oom
local intake = pick(key.intake, 'state', 'received', 'length', 'idle_ms', 'expires_by',
  'told_at')
if intake.state ~= 'receiving' or intake.received ~= arg.start then
  return {'refused', intake.state or '', intake.received or ''}
end
local t = now()
local expires_at = silent_until(t, intake.idle_ms, intake.expires_by)
intake.received = arg.finish
local whole = intake.received == intake.length
put(key.intake, 'received', arg.finish, 'expires_at', expires_at,
  'last_start', arg.start, 'last_finish', arg.finish, 'last_crc32c', arg.crc32c)
if whole then turn_to(key, arg.upload_id, intake, 'received') end
local missing = num(arg.part_end) - num(arg.finish)
if num(intake.length) >= 0 then
  missing = math.min(missing, num(intake.length) - num(arg.finish))
end
if missing > 0 then
  redis.call('ZADD', key.filling, int(missing), arg.upload_id)
else
  redis.call('ZREM', key.filling, arg.upload_id)
end
local work = pick(key.work, 'stored', 'ripe_at', 'scheduled')
if whole or t - num(intake.told_at) >= num(arg.told_every_ms) then
  put(key.intake, 'told_at', t)
  tell(key.events, intake, work)
end
if work.scheduled == '1' then return {'accepted', 0} end
if runnable(intake, work) then
  put(key.work, 'scheduled', 1, 'rewakes', 0, 'wanted_since', t)
  due_at(key.due, arg.upload_id, t + num(arg.rewake_ms))
  return {'accepted', 1}
end
due_at(key.due, arg.upload_id, expires_at)
return {'accepted', 0}
