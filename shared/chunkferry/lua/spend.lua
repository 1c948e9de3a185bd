-- spend: a joined upload needs a partial one no more; if it has its bytes, that may go.
-- KEYS     intake work path events ended partials
-- ARGV     upload_id final whole ttl_ms grave_ms
-- RETURNS  spent | needed | unknown
-- FLAGS    allow-oom
-- "needed" by another, or by the next that comes. Never removed before its grave is looked at: a
-- late request of a dead holder could make the object anew.
local t = now()
local intake = pick(key.intake, 'state', 'finished_at', 'finals')
if not intake.state then return {'unknown'} end
local finals = intake.finals or ''
local first, last = find_id(finals, arg.final)
if first then
  finals = string.sub(finals, 1, first - 1) .. string.sub(finals, last + 1)
  put(key.intake, 'finals', finals)
end
if finals ~= '' or arg.whole ~= '1' or not ended(intake.state) then return {'needed'} end
local moment = math.max(t, num(intake.finished_at) + num(arg.grave_ms))
redis.call('ZADD', key.partials, 'XX', int(moment), arg.upload_id)
remember(key, arg.upload_id, t, moment - t + num(arg.ttl_ms))
return {'spent'}
