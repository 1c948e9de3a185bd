-- ripe: what is to be looked at by now, of one of a shard's agendas.
-- KEYS     agenda
-- ARGV     limit
-- RETURNS  ripe uploads
-- FLAGS    no-writes,allow-oom
-- A script, so that each server of a cluster goes by its own clock.
local uploads = redis.call('ZRANGE', key.agenda, '-inf', int(now()), 'BYSCORE', 'LIMIT', 0, arg.limit)
return {'ripe', uploads}
