-- snapshot: an upload as it is at one moment; a script because a full Redis queues no MULTI.
-- KEYS     intake work
-- RETURNS  found now intake work | unknown
-- FLAGS    no-writes,allow-oom
-- Where the server's clock was put back, one hash of an ended upload may be gone before the other.
local intake = redis.call('HGETALL', key.intake)
local work = redis.call('HGETALL', key.work)
if #intake == 0 or #work == 0 then return {'unknown'} end
return {'found', now(), intake, work}
