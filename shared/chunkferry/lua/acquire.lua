-- acquire: take the lease of an upload that has work, unless somebody holds it.
-- KEYS     intake work due events filling telling
-- ARGV     upload_id nonce worker lease_ms slack_ms max_deaths failed_ms
-- RETURNS  acquired takeover | gone | failed | held | early | idle | quarantined
-- MOVES    receiving -> receiving failed; received -> received failed; completing -> completing failed; aborting -> aborting
-- FLAGS    allow-oom
-- Every holder counts as dead until it commits or lets go: a poisoned upload kills its workers
-- without any exception, and is found out here.
local t = now()
local intake = read_intake(key.intake)
if not intake.state or ended(intake.state) then
  redis.call('ZREM', key.due, arg.upload_id)
  return {'gone'}
end
if intake.state == 'failed' then return {'failed'} end
local work = read_work(key.work)
local mine = work.owner == arg.nonce -- the same call again
local another = work.owner ~= '' and not mine
if another and num(work.lease_until) > t then return {'held'} end
if num(work.retry_at) > t then return {'early'} end
if not runnable(intake, work) then
  put(key.work, 'scheduled', 0, 'owner', '', 'lease_until', 0)
  due_at(key.due, arg.upload_id, num(intake.expires_at))
  return {'idle'}
end
if not mine and num(work.deaths) >= num(arg.max_deaths) and intake.state ~= 'aborting' then
  park(key, arg.upload_id, intake, work, 'quarantined',
    int(num(work.deaths)) .. ' workers died on this upload one after another', arg.failed_ms)
  return {'quarantined'}
end
local lease_until = t + num(arg.lease_ms)
local more = mine and 0 or 1
put(key.work, 'owner', arg.nonce, 'worker', arg.worker, 'epoch', num(work.epoch) + more,
  'lease_until', lease_until, 'deaths', num(work.deaths) + more, 'scheduled', 1)
due_at(key.due, arg.upload_id, lease_until + num(arg.slack_ms))
return {'acquired', another and 1 or 0}
