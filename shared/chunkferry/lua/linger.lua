-- linger: a worker looks at an upload that is joined from others; say when to look again.
-- KEYS     intake joins
-- ARGV     upload_id pause_ms waiting
-- RETURNS  lingering | unknown
-- FLAGS    allow-oom
-- "waiting" is 1 while others are still being received: the upload itself is not silent then.
local t = now()
local intake = pick(key.intake, 'state', 'idle_ms', 'expires_by')
if not intake.state then return {'unknown'} end
if arg.waiting == '1' and intake.state == 'receiving' then
  put(key.intake, 'expires_at', silent_until(t, intake.idle_ms, intake.expires_by))
end
redis.call('ZADD', key.joins, 'XX', int(t + num(arg.pause_ms)), arg.upload_id)
return {'lingering'}
