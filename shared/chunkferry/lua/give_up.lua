-- give_up: what an upload is to be joined from is not to be had; nobody has to hold it for that.
-- KEYS     intake work due events filling telling
-- ARGV     upload_id error_code error failed_ms
-- RETURNS  failed | unknown | closed state
-- MOVES    receiving -> failed
-- FLAGS    allow-oom
-- A holder finds out when it next renews or commits.
local intake = read_intake(key.intake)
if not intake.state then return {'unknown'} end
if intake.state ~= 'receiving' then return {'closed', intake.state} end
park(key, arg.upload_id, intake, read_work(key.work), arg.error_code, arg.error, arg.failed_ms)
return {'failed'}
