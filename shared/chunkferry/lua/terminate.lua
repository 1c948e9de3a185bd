-- terminate: note that the object of a complete upload is about to be deleted, or has been.
-- KEYS     intake path
-- ARGV     upload_id deleted
-- RETURNS  noted | same | superseded | unknown | closed state
-- FLAGS    allow-oom
-- "deleted" is 1 once it has been. In between no other upload to the path begins, whose object could
-- be taken for this one's; "superseded" says that one has begun before. The record keeps its TTL.
local intake = pick(key.intake, 'state', 'termination')
if not intake.state then return {'unknown'} end
if intake.state ~= 'complete' then return {'closed', intake.state} end
if intake.termination == 'done' then return {'same'} end
if arg.deleted == '1' then
  put(key.intake, 'termination', 'done')
  return {'noted'}
end
if (redis.call('GET', key.path) or arg.upload_id) ~= arg.upload_id then return {'superseded'} end
put(key.intake, 'termination', 'begun')
return {'noted'}
