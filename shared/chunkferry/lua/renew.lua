-- renew: keep the lease, because the work makes progress.
-- KEYS     intake work due
-- ARGV     upload_id nonce lease_ms slack_ms
-- RETURNS  held state received length | fenced
-- FLAGS    allow-oom
if redis.call('HGET', key.work, 'owner') ~= arg.nonce then return {'fenced'} end
local lease_until = now() + num(arg.lease_ms)
put(key.work, 'lease_until', lease_until)
due_at(key.due, arg.upload_id, lease_until + num(arg.slack_ms))
local intake = read_intake(key.intake)
return {'held', intake.state, intake.received, intake.length}
