-- finish: the upload has ended; free everything but the record, which stays for its TTL.
-- KEYS     intake work path parts receipts due events filling ended graves joins partials telling
-- ARGV     upload_id nonce outcome size etag ttl_ms grave_ms tells untold_ms
-- RETURNS  finished state | fenced state | closed state
-- MOVES    receiving -> complete; received -> complete; completing -> complete; aborting -> expired cancelled complete
-- FLAGS    allow-oom
-- outcome: "complete" after begin_complete; "adopted" when the worker has seen the whole object
-- with this upload's id, which proves completion whatever Redis remembers; "aborted".
-- A record of which somebody is still to be told stays for "untold_ms" at most.
local intake = read_intake(key.intake)
local work = read_work(key.work)
if work.owner ~= arg.nonce then return {'fenced', intake.state or ''} end
if (arg.outcome == 'complete' and intake.state ~= 'completing')
  or (arg.outcome == 'aborted' and intake.state ~= 'aborting') then
  return {'closed', intake.state}
end
redis.call('UNLINK', key.parts, key.receipts)
local state = 'complete'
if arg.outcome == 'aborted' then
  state = intake.reason
else
  intake.received, intake.length, work.stored = arg.size, arg.size, arg.size
end
local t, ttl = now(), num(arg.ttl_ms)
-- The object of a partial upload waits to be joined with others; the record waits for as long
-- again, in case that nobody looks when the object is to go. Nobody is told of it. It never goes
-- before the grave was looked at.
local keep_ms = num(redis.call('HGET', key.intake, 'keep_ms'))
if arg.tells == '1' and keep_ms == 0 then redis.call('ZADD', key.telling, int(t), arg.upload_id) end
if redis.call('ZSCORE', key.telling, arg.upload_id) then ttl = num(arg.untold_ms) end
turn_to(key, arg.upload_id, intake, state)
put(key.intake, 'received', intake.received, 'length', intake.length, 'finished_at', t,
  'etag', arg.etag)
put(key.work, 'owner', '', 'lease_until', 0, 'scheduled', 0, 'stored', work.stored,
  'session', '', 'error', '', 'error_code', '')
redis.call('ZREM', key.due, arg.upload_id)
redis.call('ZREM', key.filling, arg.upload_id)
redis.call('ZADD', key.graves, int(t + num(arg.grave_ms)), arg.upload_id)
tell(key.events, intake, work)
if intake.state == 'complete' and keep_ms > 0 then
  redis.call('ZADD', key.partials, int(t + math.max(keep_ms, num(arg.grave_ms))), arg.upload_id)
  ttl = ttl + 2 * keep_ms
else
  redis.call('ZREM', key.partials, arg.upload_id)
end
redis.call('ZADD', key.joins, 'XX', int(t), arg.upload_id)
remember(key, arg.upload_id, t, ttl)
return {'finished', intake.state}
