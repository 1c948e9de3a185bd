-- defer: the try failed but another one may not; let go until then.
-- KEYS     intake work due events filling telling
-- ARGV     upload_id nonce backoff_ms max_attempts error_code error failed_ms
-- RETURNS  deferred | failed | fenced
-- MOVES    receiving -> receiving failed; received -> received failed; completing -> completing failed; aborting -> aborting
-- FLAGS    allow-oom
-- An upload that is being removed is tried for ever: giving up would leak.
local work = read_work(key.work)
if work.owner ~= arg.nonce then return {'fenced'} end
local intake = read_intake(key.intake)
local attempts = num(work.attempts) + 1
put(key.work, 'attempts', attempts)
if attempts >= num(arg.max_attempts) and intake.state ~= 'aborting' then
  park(key, arg.upload_id, intake, work, arg.error_code, arg.error, arg.failed_ms)
  return {'failed'}
end
local retry_at = now() + num(arg.backoff_ms)
put(key.work, 'owner', '', 'lease_until', 0, 'retry_at', retry_at, 'scheduled', 1,
  'deaths', math.max(0, num(work.deaths) - 1), 'error', arg.error, 'error_code', arg.error_code,
  'rewakes', 0, 'wanted_since', retry_at)
due_at(key.due, arg.upload_id, retry_at)
return {'deferred'}
