-- mark: write something behind all that was acknowledged: who waits for it waits for that as well.
-- KEYS     intake work
-- ARGV     received length
-- RETURNS  marked | missing | behind received length
-- FLAGS    allow-oom
-- A server that took over may have less than its predecessor acknowledged: so look first. Written
-- is the workers' hash, which no producer watches. "length" is empty for any.
local intake = pick(key.intake, 'received', 'length')
if not intake.received or not redis.call('HGET', key.work, 'stored') then return {'missing'} end
local other = arg.length ~= '' and arg.length ~= intake.length
if other or num(intake.received) < num(arg.received) then
  return {'behind', intake.received, intake.length}
end
put(key.work, 'marked_at', now())
return {'marked'}
