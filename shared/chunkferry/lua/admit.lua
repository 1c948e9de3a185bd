-- admit: may these bytes be sent? Asked before they travel, under WATCH of intake.
-- KEYS     intake work
-- ARGV     start finish begins part_end room batch
-- RETURNS  admitted | unknown | closed state | known received last_start last_finish last_crc32c stored | mismatch received | too_long length | wait received
-- FLAGS    allow-oom
local intake = pick(key.intake, 'state', 'received', 'length', 'window', 'idle_ms',
  'expires_by', 'last_start', 'last_finish', 'last_crc32c')
local state, received = intake.state, num(intake.received)
if not state then return {'unknown'} end
local open = state == 'receiving'
if not open and state ~= 'received' and state ~= 'completing' and state ~= 'complete' then
  return {'closed', state}
end
local work = pick(key.work, 'stored', 'ripe_at')
local start, finish = num(arg.start), num(arg.finish)
if start <= received and finish <= received then
  return {'known', intake.received, intake.last_start or '', intake.last_finish or '',
    intake.last_crc32c or '', work.stored}
end
if state == 'complete' then return {'closed', state} end
local length = num(intake.length)
if length >= 0 and finish > length then return {'too_long', intake.length} end
if not open then return {'closed', state} end
if start ~= received then return {'mismatch', intake.received} end
-- The window always holds the part that is being filled and one batch more: a smaller one would
-- wait for a part that it does not let become whole.
local stored, ripe_at = num(work.stored), num(work.ripe_at)
local window = math.max(num(intake.window), ripe_at - stored + num(arg.batch))
local fits = finish - stored <= window
-- Beginning a part takes room for all of it: every part begun can become whole, be stored, and
-- free its memory. Many half-filled ones in a full Redis would wait for one another for ever.
local room, part_end = num(arg.room), num(arg.part_end)
local needs = math.max(0, finish - part_end)
if arg.begins == '1' then
  needs = needs + (length >= 0 and math.min(part_end, length) or part_end) - start
end
if room >= 0 and needs > room then fits = false end
if fits then return {'admitted'} end
-- A producer that has to wait is an active producer.
put(key.intake, 'expires_at', silent_until(now(), intake.idle_ms, intake.expires_by))
return {'wait', intake.received}
