-- admit: may these bytes be sent? Asked before they travel, under WATCH of intake.
-- KEYS     intake work
-- ARGV     start finish pressed batch
-- RETURNS  admitted | unknown | closed state | known received last_start last_finish last_crc32c stored | mismatch received | too_long length | wait received
-- FLAGS    allow-oom
local intake = pick(key.intake, 'state', 'received', 'length', 'window', 'idle_ms',
  'last_start', 'last_finish', 'last_crc32c')
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
if not open then return {'closed', state} end
if num(intake.length) >= 0 and finish > num(intake.length) then
  return {'too_long', intake.length}
end
if start ~= received then return {'mismatch', intake.received} end
-- The window always holds the part that is being filled and one batch more: a smaller one would
-- wait for a part that it does not let become whole.
local stored, ripe_at = num(work.stored), num(work.ripe_at)
local window = math.max(num(intake.window), ripe_at - stored + num(arg.batch))
local fits = finish - stored <= window
-- Under memory pressure parts already begun may be filled, so that the workers can free them.
if arg.pressed == '1' and (start == stored or finish > ripe_at) then fits = false end
if fits then return {'admitted'} end
-- A producer that has to wait is an active producer.
put(key.intake, 'expires_at', now() + num(intake.idle_ms))
return {'wait', intake.received}
