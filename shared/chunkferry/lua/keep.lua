-- keep: say for how long the object of a partial upload is still needed, and keep its record.
-- KEYS     intake work path events ended partials
-- ARGV     upload_id keep_ms ttl_ms grave_ms
-- RETURNS  kept | open | unknown
-- FLAGS    allow-oom
-- Never removed before its grave is looked at: a late request of a dead holder could make the
-- object anew. "open" has not ended, and is looked at again after as long.
local t = now()
local intake = pick(key.intake, 'state', 'finished_at')
if not intake.state then return {'unknown'} end
local moment = t + num(arg.keep_ms)
if not ended(intake.state) then
  redis.call('ZADD', key.partials, 'XX', int(moment), arg.upload_id)
  return {'open'}
end
moment = math.max(moment, num(intake.finished_at) + num(arg.grave_ms))
redis.call('ZADD', key.partials, 'XX', int(moment), arg.upload_id)
remember(key, arg.upload_id, t, moment - t + num(arg.ttl_ms))
return {'kept'}
