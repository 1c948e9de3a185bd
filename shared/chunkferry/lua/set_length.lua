-- set_length: say how long a file is that began without a length.
-- KEYS     intake work due events telling
-- ARGV     upload_id length rewake_ms
-- RETURNS  set wake | same | unknown | closed state | conflict length | below received
-- MOVES    receiving -> receiving received
-- FLAGS    allow-oom
local intake = read_intake(key.intake)
if not intake.state then return {'unknown'} end
if intake.length == arg.length then return {'same'} end
if num(intake.length) >= 0 then return {'conflict', intake.length} end
if intake.state ~= 'receiving' then return {'closed', intake.state} end
if num(arg.length) < num(intake.received) then return {'below', intake.received} end
intake.length = arg.length
put(key.intake, 'length', arg.length)
if intake.received == arg.length then turn_to(key, arg.upload_id, intake, 'received') end
local work = read_work(key.work)
tell(key.events, intake, work)
if work.scheduled == '1' or not runnable(intake, work) then return {'set', 0} end
local t = now()
put(key.work, 'scheduled', 1, 'rewakes', 0, 'wanted_since', t)
due_at(key.due, arg.upload_id, t + num(arg.rewake_ms))
return {'set', 1}
