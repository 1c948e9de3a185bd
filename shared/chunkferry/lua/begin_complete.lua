-- begin_complete: fix the direction before the store is asked to make the object.
-- KEYS     intake work telling
-- ARGV     upload_id nonce whole
-- RETURNS  begun | fenced | closed state | short stored
-- MOVES    received -> completing; completing -> completing
-- FLAGS    allow-oom
local work = pick(key.work, 'owner', 'stored')
if work.owner ~= arg.nonce then return {'fenced'} end
local intake = read_intake(key.intake)
if intake.state ~= 'received' and intake.state ~= 'completing' then
  return {'closed', intake.state}
end
-- "whole": nothing is stored yet, because one request is to store it all.
local whole = arg.whole == '1' and work.stored == '0' and intake.received == intake.length
if work.stored ~= intake.length and not whole then return {'short', work.stored} end
if intake.state == 'received' then turn_to(key, arg.upload_id, intake, 'completing') end
return {'begun'}
