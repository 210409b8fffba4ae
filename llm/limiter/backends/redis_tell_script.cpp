#include <moderato/llm/limiter/backends/redis_scripts.hpp>

// What is told to Redis: how a call ended, and what else is no acquire. The essay and the words
// that both scripts share are in redis_scripts.cpp.

namespace moderato {

const char* const redis_tell_text = R"lua(
-- ARGV: 1 now µs or '', 2 owner, 3 lease µs, 4 what: settle, withdraw, renew, retry, leave, look
-- settle: 5 grant id, 6-9 what is given back (negative: more was used), 10 '1' if by the provider,
--   too, 11 granted at µs, 12-15 charged in all then, 16 '1' for a refusal, 17 corrections as JSON:
--   {unit, period µs, limit or 0, left or null}, 18 state machine: '' or the version it was made
--   of, 19 k, 20 hk, 21 hu, 22 hp, 23 sh, 24 sg, 25 the channel for wake-ups, 26 '1': what is
--   given back counts for `left`, too, 27 sf
-- withdraw: 5 ticket; renew: 5 calls in flight, 6 run id, 7 newest grant known; look: nothing
-- gives: {now, kv, k, done, ...}
local now, owner = clock(ARGV[1]), ARGV[2]
local what = ARGV[4]
local s = load_value(KEYS[1])
if not s then return {now, -1, '', 0} end
now = advance(s, now)
local me = s.p[owner]
if me then me.e = math.max(me.e, now + tonumber(ARGV[3])) end

local function tickets()
  if s.q == 0 then return nil end
  local ok, w = pcall(cmsgpack.unpack, redis.call('GET', KEYS[2]) or '')
  if not ok or type(w) ~= 'table' or w.v ~= 2 then return nil end
  drop_expired(s, w, now)
  return w
end
if what == 'look' then
  local waiting = tickets()
  local reply = {now, s.kv, s.k, 1, s.g, in_flight(s), s.slots, waiting and #waiting.t or 0, s.rej, s.r, 0, s.hk, s.hu}
  local owners = 0
  for _ in pairs(s.p) do owners = owners + 1 end
  reply[11] = owners
  for _, d in ipairs(s.d) do
    reply[#reply + 1] = d.u
    reply[#reply + 1] = d.l
    reply[#reply + 1] = d.p
    reply[#reply + 1] = math.floor(math.min((d.b - d.a) * d.l * d.s, (d.p - d.t) * d.l) / d.p + 1e-6)
  end
  return reply
end
if what == 'retry' then
  local done = 0
  if s.r >= 10 then
    s.r, done = s.r - 10, 1
  elseif now - s.rl >= 10000000 then
    done = 1
  end
  if done == 1 then s.rl = now end
  save(s)
  return {now, s.kv, '', done}
end
if what == 'leave' then
  s.p[owner] = nil
  save(s)
  return {now, s.kv, '', 1}
end
if what == 'renew' then
  if not me then
    me = {n = 0, e = now + tonumber(ARGV[3]), b = tonumber(ARGV[7])}
    if me.b > s.id then s.id = me.b end
    s.p[owner] = me
  end
  local n = tonumber(ARGV[5])
  if n >= 0 then me.n = n end
  if s.run ~= ARGV[6] then took_over(s, now, ARGV[6]) end
  local owners = 0
  for _ in pairs(s.p) do owners = owners + 1 end
  save(s)
  return {now, s.kv, '', owners}
end
local function wake(w, channel)
  if channel == '' then return end
  local first
  if w then
    for _, t in ipairs(w.t) do
      if not first or t.s < first.s or (t.s == first.s and t.n < first.n) then first = t end
    end
  end
  if not first then redis.call('PUBLISH', channel, '*')
  elseif first.o ~= owner then redis.call('PUBLISH', channel, first.o) end
end
if what == 'withdraw' then
  local w = tickets()
  if w then
    for i, t in ipairs(w.t) do
      if t.o == owner and t.i == ARGV[5] then
        local f = owner .. '|' .. t.f
        if w.f[f] then w.f[f][1] = w.f[f][1] - t.l end
        table.remove(w.t, i)
        break
      end
    end
    if #w.t == 0 then w.f = {} end
    save_tickets(s, w)
    if s.slots > 0 then wake(w, ARGV[6]) end
  end
  save(s)
  return {now, s.kv, '', 1}
end

-- What is owed then. Calls that have not left find no less than they were told, see gcra.cpp.
local function given_back(d, owed, cost, full, place)
  if tonumber(ARGV[11]) < full then return owed end
  cost = owed - math.max(owed - cost, full - now, 0)
  for _, x in ipairs(d.w) do
    if x[1] > now then cost = math.min(cost, math.max(x[place], 0)) end
  end
  for _, x in ipairs(d.w) do x[place] = x[place] - cost end
  return owed - cost
end

-- settle
local grant = tonumber(ARGV[5])
local back = {tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])}
local theirs_too = ARGV[10] == '1'
local was_full = s.slots > 0 and in_flight(s) >= s.slots
local done = 0
if me and grant > me.b and me.n > 0 then
  me.n, done = me.n - 1, 1
end
local since = {}
for j = 1, 4 do since[j] = s.c[j] - tonumber(ARGV[11 + j]) end
for _, d in ipairs(s.d) do
  local n = amount(back, d.u)
  if n < 0 then
    d.a = d.a - cost_ours(d, n)
    if theirs_too then d.t = d.t - cost_theirs(d, n) end
  elseif n > 0 then
    d.a = given_back(d, d.a, cost_ours(d, n), d.za, 2)
    if theirs_too then d.t = given_back(d, d.t, cost_theirs(d, n), d.zt, 3) end
  end
end
for j = 1, 4 do s.c[j] = s.c[j] - back[j] end
if ARGV[16] == '1' then s.rej = s.rej + 1 end
if ARGV[17] ~= '' then
  for _, x in ipairs(cjson.decode(ARGV[17])) do
    for _, d in ipairs(s.d) do
      if d.u == x[1] and d.p == x[2] then
        if x[3] > 0 then d.l = math.min(d.sl, x[3]) end
        if type(x[4]) == 'number' then
          local left = x[4] - amount(since, d.u)
          if ARGV[26] == '1' then left = left + amount(back, d.u) end
          d.t = math.max(d.t, d.p - cost_theirs(d, math.min(left, x[3] > 0 and x[3] or left)))
        end
      end
    end
  end
end
local k = ''
if ARGV[18] ~= '' then
  if tonumber(ARGV[18]) == s.kv then
    if s.hk > 0 and tonumber(ARGV[20]) == 0 and ARGV[25] ~= '' then
      redis.call('PUBLISH', ARGV[25], '*')  -- those who were told to wait for its end
    end
    s.k, s.kv = ARGV[19], s.kv + 1
    s.hk, s.hu, s.hp = tonumber(ARGV[20]), tonumber(ARGV[21]), tonumber(ARGV[22])
    s.sh, s.sg, s.sf = tonumber(ARGV[23]), tonumber(ARGV[24]), tonumber(ARGV[27])
    done = done + 2
  else
    k = s.k
  end
end
if s.slots > 0 and (was_full or s.q > 0) then
  wake(tickets(), ARGV[25])
end
save(s)
return {now, s.kv, k, done}
)lua";

}  // namespace moderato
