-- cancel: have the upload removed, on request.
-- KEYS     intake work parts due events filling telling
-- ARGV     upload_id rewake_ms
-- RETURNS  cancelled | same | unknown | closed state
-- MOVES    receiving -> aborting; received -> aborting; failed -> aborting
-- FLAGS    allow-oom
-- A holder keeps its lease and cleans up itself when it next renews or commits.
local intake = read_intake(key.intake)
if not intake.state then return {'unknown'} end
if intake.state == 'cancelled' or (intake.state == 'aborting' and intake.reason == 'cancelled') then
  return {'same'}
end
if intake.state ~= 'receiving' and intake.state ~= 'received' and intake.state ~= 'failed' then
  return {'closed', intake.state}
end
abort(key, arg.upload_id, intake, read_work(key.work), 'cancelled', now() + num(arg.rewake_ms))
return {'cancelled'}
