-- begin_telling: take the turn to tell of an upload's changes, unless somebody else has it.
-- KEYS     intake work telling
-- ARGV     upload_id nonce turn_ms
-- RETURNS  begun now intake work | busy | gone
-- FLAGS    allow-oom
local t = now()
local intake = pick(key.intake, 'state', 'history')
local work = pick(key.work, 'stored', 'teller', 'teller_until')
if not intake.state or not work.stored then
  redis.call('ZREM', key.telling, arg.upload_id)
  return {'gone'}
end
local free = not work.teller or work.teller == '' or work.teller == arg.nonce
if not free and num(work.teller_until) > t then
  redis.call('ZADD', key.telling, int(num(work.teller_until)), arg.upload_id)
  return {'busy'}
end
-- The last release changes states without a note: numbers are given before anybody is told.
local _, noted = newest(intake.history)
if noted ~= intake.state then
  put(key.intake, 'history', with_change(intake.history, intake.state, t))
end
local teller_until = t + num(arg.turn_ms)
put(key.work, 'teller', arg.nonce, 'teller_until', teller_until)
redis.call('ZADD', key.telling, int(teller_until), arg.upload_id)
return {'begun', t, redis.call('HGETALL', key.intake), redis.call('HGETALL', key.work)}
