-- note: an upload has begun that is a principal's; counted where quotas are on.
-- KEYS     principal
-- ARGV     upload_id began_at keep_ms
-- RETURNS  noted
-- FLAGS    allow-oom
-- Whoever asks for them takes those away that have ended. The key is in no shard, and so is its clock.
redis.call('ZADD', key.principal, int(arg.began_at), arg.upload_id)
redis.call('PEXPIRE', key.principal, int(arg.keep_ms))
return {'noted'}
