-- note_told: remember who was told of what, and keep the turn.
-- KEYS     work telling
-- ARGV     upload_id nonce told turn_ms
-- RETURNS  noted | fenced
-- FLAGS    allow-oom
if redis.call('HGET', key.work, 'teller') ~= arg.nonce then return {'fenced'} end
local teller_until = now() + num(arg.turn_ms)
put(key.work, 'told', arg.told, 'teller_until', teller_until)
redis.call('ZADD', key.telling, int(teller_until), arg.upload_id)
return {'noted'}
