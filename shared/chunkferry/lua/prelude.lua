-- What all moves share. Numbers are written through int(): Lua would print 5e+12 or -0.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function int(number) return string.format('%d', number) end
local function num(text) return tonumber(text or '0') or 0 end

local function pick(hash, ...)
  local values, record = redis.call('HMGET', hash, ...), {}
  for i, name in ipairs({...}) do record[name] = values[i] or nil end
  return record
end

local function put(hash, ...)
  local fields = {...}
  for i = 2, #fields, 2 do
    if type(fields[i]) == 'number' then fields[i] = int(fields[i]) end
  end
  redis.call('HSET', hash, unpack(fields))
end

-- When an upload is given up whose producer moved at t: never later than expires_by, if that is set.
local function silent_until(t, idle_ms, expires_by)
  local idle_until, by = t + num(idle_ms), num(expires_by)
  return by > 0 and math.min(idle_until, by) or idle_until
end

local function read_intake(hash)
  return pick(hash, 'state', 'received', 'length', 'expires_at', 'reason')
end

local function read_work(hash)
  return pick(hash, 'stored', 'ripe_at', 'owner', 'lease_until', 'epoch', 'scheduled', 'deaths',
    'attempts', 'retry_at', 'session', 'rewakes', 'failed_until')
end

local function ended(state)
  return state == 'complete' or state == 'expired' or state == 'cancelled'
end

-- Is there something for a worker to do? A whole part waits, or the end is in sight.
local function runnable(intake, work)
  local state = intake.state
  if state == 'received' or state == 'completing' or state == 'aborting' then return true end
  return state == 'receiving' and num(intake.received) >= num(work.ripe_at)
end

local function due_at(due, upload_id, moment) redis.call('ZADD', due, int(moment), upload_id) end

local function tell(events, intake, work)
  redis.call('XADD', events, 'MAXLEN', '~', '200', '*', 'state', intake.state,
    'received', intake.received, 'stored', work.stored, 'length', intake.length,
    'error', work.error or '', 'error_code', work.error_code or '')
end

-- The newest change that a history notes: its number and the state.
local function newest(history)
  local index, state = string.match(history or '', '(%d+):(%l+):%d+$')
  return num(index), state
end

-- A history with one change more, as index:state:ms. The first one and the newest are kept.
local function with_change(history, state, t)
  local changes = {}
  for change in string.gmatch(history or '', '[^;]+') do changes[#changes + 1] = change end
  if #changes >= 64 then table.remove(changes, 2) end
  changes[#changes + 1] = int(newest(history) + 1) .. ':' .. state .. ':' .. int(t)
  return table.concat(changes, ';')
end

-- Every change of state: it is noted, and to be told soon where anybody is to be told.
local function turn_to(key, upload_id, intake, state)
  local t = now()
  local history = pick(key.intake, 'history').history
  local _, noted = newest(history)
  -- The last release changes states without a note.
  if noted and noted ~= intake.state then history = with_change(history, intake.state, t) end
  intake.state = state
  put(key.intake, 'state', state, 'history', with_change(history, state, t))
  redis.call('ZADD', key.telling, 'XX', int(t), upload_id)
end

-- Everything accepted is let go; the worker that finds the upload cleans up at the store.
local function abort(key, upload_id, intake, work, reason, moment)
  redis.call('UNLINK', key.parts)
  redis.call('ZREM', key.filling, upload_id)
  turn_to(key, upload_id, intake, 'aborting')
  put(key.intake, 'reason', reason)
  put(key.work, 'scheduled', 1, 'deaths', 0, 'attempts', 0, 'retry_at', 0, 'rewakes', 0,
    'wanted_since', now())
  due_at(key.due, upload_id, moment)
  tell(key.events, intake, work)
end

-- Given up for now: everything is kept for requeue until failed_until.
local function park(key, upload_id, intake, work, error_code, error, failed_ms)
  local failed_until = now() + num(failed_ms)
  redis.call('ZREM', key.filling, upload_id)
  work.error, work.error_code = error, error_code
  turn_to(key, upload_id, intake, 'failed')
  put(key.work, 'owner', '', 'lease_until', 0, 'scheduled', 0, 'failed_until', failed_until,
    'error', error, 'error_code', error_code)
  due_at(key.due, upload_id, failed_until)
  tell(key.events, intake, work)
end

-- Where an upload's id stands in a text of ids, each of which is followed by a blank.
local function find_id(ids, upload_id)
  return string.find(ids or '', upload_id .. ' ', 1, true)
end

-- The set of ended uploads vanishes with the last of them, as it is known at t.
local function bound_ended(key, t)
  redis.call('ZREMRANGEBYSCORE', key.ended, '-inf', int(t))
  local last = redis.call('ZRANGE', key.ended, -1, -1, 'WITHSCORES')
  if last[2] then redis.call('PEXPIRE', key.ended, int(num(last[2]) - t)) end
end

-- Keep the record of an ended upload for ttl_ms from t on.
local function remember(key, upload_id, t, ttl_ms)
  redis.call('ZADD', key.ended, int(t + ttl_ms), upload_id)
  bound_ended(key, t)
  for _, name in ipairs({key.intake, key.work, key.events}) do
    redis.call('PEXPIRE', name, int(ttl_ms))
  end
  if redis.call('GET', key.path) == upload_id then
    redis.call('PEXPIRE', key.path, int(ttl_ms))
  end
end
