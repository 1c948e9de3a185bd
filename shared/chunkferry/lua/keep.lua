-- keep: a joined upload goes on needing the object of a partial one, and its record.
-- KEYS     intake work path events ended partials
-- ARGV     upload_id final keep_ms ttl_ms
-- RETURNS  kept | open | spent | unknown
-- FLAGS    allow-oom
-- "open": it has not ended, and is looked at again after as long. "spent": "final" has let it go
-- before, and this is a late turn at joining. No "final" asks on nobody's behalf.
local t = now()
local intake = pick(key.intake, 'state', 'finals')
if not intake.state then return {'unknown'} end
if arg.final ~= '' and not find_id(intake.finals, arg.final) then return {'spent'} end
redis.call('ZADD', key.partials, 'XX', int(t + num(arg.keep_ms)), arg.upload_id)
if not ended(intake.state) then return {'open'} end
remember(key, arg.upload_id, t, num(arg.keep_ms) + num(arg.ttl_ms))
return {'kept'}
