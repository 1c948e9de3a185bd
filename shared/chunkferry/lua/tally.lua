-- tally: what one process has counted is added to what all have.
-- KEYS     tally
-- ARGV     counts
-- RETURNS  tallied
-- FLAGS    allow-oom
-- "counts" is JSON: field -> whole number. A full Redis takes it too: that is when the numbers are
-- looked at. There are few fields, and each is there from its first count on.
for field, count in pairs(cjson.decode(arg.counts)) do
  redis.call('HINCRBY', key.tally, field, int(count))
end
return {'tallied'}
