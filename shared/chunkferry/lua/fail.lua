-- fail: no further try would help before somebody mends the cause.
-- KEYS     intake work due events filling telling
-- ARGV     upload_id nonce error_code error failed_ms
-- RETURNS  failed | fenced | closed state
-- MOVES    receiving -> failed; received -> failed; completing -> failed
-- FLAGS    allow-oom
local work = read_work(key.work)
if work.owner ~= arg.nonce then return {'fenced'} end
local intake = read_intake(key.intake)
if intake.state == 'aborting' then return {'closed', intake.state} end
park(key, arg.upload_id, intake, work, arg.error_code, arg.error, arg.failed_ms)
return {'failed'}
