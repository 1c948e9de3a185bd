-- link: note that a joined upload needs a partial one, which is told then when that ends.
-- KEYS     intake
-- ARGV     final
-- RETURNS  linked | unknown
-- FLAGS    allow-oom
local intake = pick(key.intake, 'state', 'finals')
if not intake.state then return {'unknown'} end
if not find_id(intake.finals, arg.final) then
  put(key.intake, 'finals', (intake.finals or '') .. arg.final .. ' ')
end
return {'linked'}
