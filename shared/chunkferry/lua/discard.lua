-- discard: the object of a partial upload is removed, or never was; forget what there is of it.
-- KEYS     intake work path events ended partials
-- ARGV     upload_id
-- RETURNS  discarded | open
-- FLAGS    allow-oom
local state = redis.call('HGET', key.intake, 'state')
if state and not ended(state) then return {'open'} end
redis.call('ZREM', key.partials, arg.upload_id)
redis.call('ZREM', key.ended, arg.upload_id)
bound_ended(key, now())
redis.call('UNLINK', key.intake, key.work, key.events)
if redis.call('GET', key.path) == arg.upload_id then redis.call('UNLINK', key.path) end
return {'discarded'}
