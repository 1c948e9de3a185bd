-- create: begin an upload, unless its path has one that has not ended.
-- KEYS     intake work path previous due events joins partials telling
-- ARGV     upload_id expected service filepath length grid first_boundary window idle_ms content_type metadata notes token lasting_ms sources keep_ms full rewake_ms tells
-- RETURNS  created wake | moved newest_id | same upload_id | occupied upload_id state | full
-- "full" is 1 where no further upload may begin. "previous" is the intake of "expected", the id the caller read from "path".
local newest = redis.call('GET', key.path) or ''
if newest == arg.upload_id then return {'created', 0} end -- the same call again
if newest ~= arg.expected then return {'moved', newest} end
if newest ~= '' then
  local other = pick(key.previous, 'state', 'token', 'termination')
  local state = other.termination == 'begun' and 'aborting' or other.state
  local removed = state == 'aborting' or state == 'expired' or state == 'cancelled'
    or other.termination == 'done'
  if state and not removed and arg.token ~= '' and other.token == arg.token then
    return {'same', newest}
  end
  if state and not ended(state) then return {'occupied', newest, state} end
end
if arg.full == '1' then return {'full'} end
local t = now()
local expires_by = num(arg.lasting_ms) > 0 and t + num(arg.lasting_ms) or 0
local expires_at = silent_until(t, arg.idle_ms, expires_by)
local empty = num(arg.length) == 0
local history = with_change('', 'receiving', t)
local intake = {state = empty and 'received' or 'receiving', received = '0', length = arg.length}
put(key.intake, 'state', intake.state, 'received', 0, 'length', arg.length,
  'service', arg.service, 'filepath', arg.filepath, 'grid', arg.grid, 'window', arg.window,
  'idle_ms', arg.idle_ms, 'expires_at', expires_at, 'expires_by', expires_by, 'created_at', t,
  'content_type', arg.content_type, 'metadata', arg.metadata, 'notes', arg.notes,
  'token', arg.token, 'history', empty and with_change(history, 'received', t) or history)
put(key.work, 'stored', 0, 'ripe_at', arg.first_boundary, 'owner', '', 'lease_until', 0,
  'epoch', 0, 'scheduled', empty and 1 or 0, 'deaths', 0, 'attempts', 0, 'retry_at', 0,
  'rewakes', 0, 'wanted_since', t, 'session', '', 'crc32c', 0)
if arg.sources ~= '' then
  put(key.intake, 'sources', arg.sources)
  redis.call('ZADD', key.joins, int(t + num(arg.rewake_ms)), arg.upload_id)
end
if num(arg.keep_ms) > 0 then
  put(key.intake, 'keep_ms', arg.keep_ms)
  redis.call('ZADD', key.partials, int(expires_at + num(arg.keep_ms)), arg.upload_id)
end
redis.call('SET', key.path, arg.upload_id)
due_at(key.due, arg.upload_id, empty and t + num(arg.rewake_ms) or expires_at)
if arg.tells == '1' then redis.call('ZADD', key.telling, int(t), arg.upload_id) end
tell(key.events, intake, {stored = '0'})
return {'created', empty and 1 or 0}
