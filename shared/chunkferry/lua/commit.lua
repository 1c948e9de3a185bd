-- commit: a part is in the store; free its bytes.
-- KEYS     intake work parts receipts due events
-- ARGV     upload_id nonce session start finish trim_below number receipt crc32c boundary lease_ms slack_ms
-- RETURNS  committed state received length | fenced | closed state | stale stored
-- FLAGS    allow-oom
-- "stale" also where Redis came back with fewer received bytes than were stored, or without the
-- session that the part is in.
local work = pick(key.work, 'owner', 'stored', 'session')
if work.owner ~= arg.nonce then return {'fenced'} end
local intake = read_intake(key.intake)
if intake.state ~= 'receiving' and intake.state ~= 'received' and intake.state ~= 'completing' then
  return {'closed', intake.state}
end
local again = work.stored == arg.finish
  and redis.call('HGET', key.receipts, arg.number) == arg.receipt
if not again then
  if work.stored ~= arg.start or work.session ~= arg.session
    or num(arg.finish) > num(intake.received) then
    return {'stale', work.stored}
  end
  redis.call('XTRIM', key.parts, 'MINID', arg.trim_below)
  work.stored = arg.finish
  local lease_until = now() + num(arg.lease_ms)
  put(key.work, 'stored', arg.finish, 'crc32c', arg.crc32c, 'ripe_at', arg.boundary,
    'deaths', 0, 'attempts', 0, 'rewakes', 0, 'lease_until', lease_until,
    'error', '', 'error_code', '')
  redis.call('HSET', key.receipts, arg.number, arg.receipt)
  due_at(key.due, arg.upload_id, lease_until + num(arg.slack_ms))
  tell(key.events, intake, work)
end
return {'committed', intake.state, intake.received, intake.length}
