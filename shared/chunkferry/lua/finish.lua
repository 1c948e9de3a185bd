-- finish: the upload has ended; free everything but the record, which stays for its TTL.
-- KEYS     intake work path parts receipts due events filling ended graves joins partials
-- ARGV     upload_id nonce outcome size etag ttl_ms grave_ms
-- RETURNS  finished state | fenced state | closed state
-- MOVES    receiving -> complete; received -> complete; completing -> complete; aborting -> expired cancelled complete
-- FLAGS    allow-oom
-- outcome: "complete" after begin_complete; "adopted" when the worker has seen the whole object
-- with this upload's id, which proves completion whatever Redis remembers; "aborted".
local intake = read_intake(key.intake)
local work = read_work(key.work)
if work.owner ~= arg.nonce then return {'fenced', intake.state or ''} end
if (arg.outcome == 'complete' and intake.state ~= 'completing')
  or (arg.outcome == 'aborted' and intake.state ~= 'aborting') then
  return {'closed', intake.state}
end
redis.call('UNLINK', key.parts, key.receipts)
if arg.outcome == 'aborted' then
  intake.state = intake.reason
else
  intake.state, intake.received, intake.length, work.stored =
    'complete', arg.size, arg.size, arg.size
end
local t = now()
put(key.intake, 'state', intake.state, 'received', intake.received, 'length', intake.length,
  'finished_at', t, 'etag', arg.etag)
put(key.work, 'owner', '', 'lease_until', 0, 'scheduled', 0, 'stored', work.stored,
  'session', '', 'error', '', 'error_code', '')
redis.call('ZREM', key.due, arg.upload_id)
redis.call('ZREM', key.filling, arg.upload_id)
redis.call('ZADD', key.graves, int(t + num(arg.grave_ms)), arg.upload_id)
tell(key.events, intake, work)
-- The object of a partial upload waits to be joined with others; the record waits for as long
-- again, in case that nobody looks when the object is to go.
local keep_ms = num(redis.call('HGET', key.intake, 'keep_ms'))
if intake.state ~= 'complete' then keep_ms = 0 end
if keep_ms > 0 then
  redis.call('ZADD', key.partials, int(t + keep_ms), arg.upload_id)
else
  redis.call('ZREM', key.partials, arg.upload_id)
end
redis.call('ZADD', key.joins, 'XX', int(t), arg.upload_id)
remember(key, arg.upload_id, t, 2 * keep_ms + num(arg.ttl_ms))
return {'finished', intake.state}
