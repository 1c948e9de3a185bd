-- release: let the lease go, and look once more in the same breath: no wake-up gets lost.
-- KEYS     intake work due
-- ARGV     upload_id nonce rewake_ms
-- RETURNS  more | idle | fenced
-- FLAGS    allow-oom
local work = read_work(key.work)
if work.owner ~= arg.nonce then return {'fenced'} end
local intake = read_intake(key.intake)
local more = runnable(intake, work)
local t = now()
put(key.work, 'owner', '', 'lease_until', 0, 'deaths', math.max(0, num(work.deaths) - 1),
  'scheduled', more and 1 or 0, 'rewakes', 0, 'wanted_since', t)
if more then
  due_at(key.due, arg.upload_id, t + num(arg.rewake_ms))
  return {'more'}
end
due_at(key.due, arg.upload_id, num(intake.expires_at))
return {'idle'}
