-- link: note which upload a part of it is being joined into, so that its end is told at once.
-- KEYS     intake
-- ARGV     final
-- RETURNS  linked | unknown
-- FLAGS    allow-oom
local state = redis.call('HGET', key.intake, 'state')
if not state then return {'unknown'} end
put(key.intake, 'final', arg.final)
return {'linked'}
