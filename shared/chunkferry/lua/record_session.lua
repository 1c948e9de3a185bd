-- record_session: remember what the store's service saved, if nobody else did meanwhile.
-- KEYS     intake work
-- ARGV     nonce expected session
-- RETURNS  recorded | fenced | closed state | other session
-- FLAGS    allow-oom
local work = pick(key.work, 'owner', 'session')
if work.owner ~= arg.nonce then return {'fenced'} end
local state = redis.call('HGET', key.intake, 'state')
if state == 'aborting' then return {'closed', state} end
if work.session ~= arg.expected and work.session ~= arg.session then
  return {'other', work.session}
end
put(key.work, 'session', arg.session)
return {'recorded'}
