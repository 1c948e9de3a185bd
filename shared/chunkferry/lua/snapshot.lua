-- snapshot: an upload as it is at one moment; a script because a full Redis queues no MULTI.
-- KEYS     intake work
-- RETURNS  found now intake work | unknown
-- FLAGS    no-writes,allow-oom
local intake = redis.call('HGETALL', key.intake)
if #intake == 0 then return {'unknown'} end
return {'found', now(), intake, redis.call('HGETALL', key.work)}
