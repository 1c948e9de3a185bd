-- keep: say for how long the object of a partial upload is still needed, and keep its record.
-- KEYS     intake work path events ended partials
-- ARGV     upload_id final keep_ms ttl_ms grave_ms
-- RETURNS  kept | open | spent | unknown
-- FLAGS    allow-oom
-- Never removed before its grave is looked at: a late request of a dead holder could make the
-- object anew. "open": it has not ended, and is looked at again after as long. "spent": "final",
-- the joined upload that asks, has let it go before, and this is a late turn at joining that.
local t = now()
local intake = pick(key.intake, 'state', 'finished_at', 'spent_by')
if not intake.state then return {'unknown'} end
local moment = t + num(arg.keep_ms)
if not ended(intake.state) then
  redis.call('ZADD', key.partials, 'XX', int(moment), arg.upload_id)
  return {'open'}
end
if arg.keep_ms == '0' then
  put(key.intake, 'spent_by', arg.final)
elseif intake.spent_by == arg.final then
  return {'spent'}
end
moment = math.max(moment, num(intake.finished_at) + num(arg.grave_ms))
redis.call('ZADD', key.partials, 'XX', int(moment), arg.upload_id)
remember(key, arg.upload_id, t, moment - t + num(arg.ttl_ms))
return {'kept'}
