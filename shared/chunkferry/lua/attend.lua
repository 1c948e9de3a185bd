-- attend: a sweep looks; after a time in which none did, producers' silence is forgiven.
-- KEYS     swept
-- ARGV     pause_ms longest_ms
-- RETURNS  attending forgiven_ms
-- FLAGS    allow-oom
-- While everything was down, or the clock jumped, no producer could have been heard: each gets as
-- long again as nobody listened, up to "longest". The answer is what is left of that: a moment of
-- this server's clock would mean nothing to another server of a cluster.
local t = now()
local swept = pick(key.swept, 'at', 'forgiven_until')
local pause = swept.at and t - num(swept.at) or 0
local forgiven_until = num(swept.forgiven_until)
if pause > num(arg.pause_ms) then forgiven_until = t + pause end
forgiven_until = math.min(forgiven_until, t + num(arg.longest_ms))
put(key.swept, 'at', t, 'forgiven_until', forgiven_until)
return {'attending', int(math.max(0, forgiven_until - t))}
