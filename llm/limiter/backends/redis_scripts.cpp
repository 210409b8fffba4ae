#include <moderato/llm/limiter/backends/redis_scripts.hpp>

// The key's numbers in Redis
//
// The naive way keeps a counter for each minute and adds to it. Then a burst at the turn of a
// minute is twice the quota, a call that waits knows no instant at which to try again, and three
// limits are three counters that three commands change one after the other. Here one script looks
// at all limits, changes all or none, and says when to come again.
//
// All that is known of a key is one value, packed by cmsgpack, because its parts are always read
// and written together, and because that keeps every number as it is: Lua's own number-to-text
// keeps 14 digits, which cuts a time in microseconds. Tickets are a second value, which is touched
// only while somebody waits.
//
// Levels are kept as what is owed, in microseconds of quota, and when that was true. What is owed
// falls by a microsecond each microsecond, so there is no epoch to be rebased. A server whose clock
// goes back after a failover only makes everybody wait a little longer.
//
// state: v version, at µs, run the server's run id, d limits, slots, id newest grant
//   (larger than any before a restart), g grants, c charged in
//   all, p processes {n in flight, e lease ends µs, b newest id when it came}, k what the state
//   machine holds (opaque), kv its version, hk 0 open / 1 wait / 2 refuse until hu µs, then
//   (hp) a probe; sh share of the rate in thousandths at sf µs, growing by sg a second,
//   r retries left in tenths, rc their most, rl the last, rej refusals, q tickets,
//   learn µs until which slots are not trusted
// d: u unit, l limit, sl stated limit, p period µs, b burst µs, s safety, a owed in our bucket,
//   za when that was last found full, t owed in the provider's bucket, zt, w the calls that have
//   not left: {leaves, what it will find owed in ours, in the provider's}, see gcra.cpp
// tickets: V virtual now, n arrivals, f {finish, callers, flow} by owner and flow, t list of
//   {o owner, i id, f flow, c callers, q queued, s start, l length, a ask, e expires µs, n arrival}

namespace moderato {
namespace {

constexpr const char* common_text = R"lua(
local function amount(a, u)
  if u == 0 then return a[1] elseif u == 1 then return a[2] + a[3]
  elseif u == 2 then return a[2] elseif u == 3 then return a[3] else return a[4] end
end
local function clock(given)
  local t = tonumber(given)
  if t then return t end
  t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end
local function load_value(key)
  local raw = redis.call('GET', key)
  if not raw then return nil end
  local ok, value = pcall(cmsgpack.unpack, raw)
  if not ok or type(value) ~= 'table' or value.v ~= 1 then
    error('RUBBISH ' .. key .. ' is not a quota of this version', 0)
  end
  return value
end
local function save(s)
  redis.call('SET', KEYS[1], cmsgpack.pack(s), 'PX', 172800000)
end
local function save_tickets(s, w)
  s.q = #w.t
  redis.call('SET', KEYS[2], cmsgpack.pack(w), 'PX', 172800000)
end
local function cost_ours(d, n) return n * d.p / (d.l * d.s) end
local function cost_theirs(d, n) return n * d.p / d.l end
local function advance(s, now)
  if now <= s.at then return s.at end
  local by = now - s.at
  for _, d in ipairs(s.d) do
    d.a = math.max(0, d.a - by)
    d.t = math.max(0, d.t - by)
  end
  s.at = now
  for owner, p in pairs(s.p) do
    if p.e <= now then s.p[owner] = nil end
  end
  return now
end
local function fresh(rules, now, run, joined)
  local s = {v = 1, at = now, run = run, d = {}, slots = rules.slots, id = math.floor(now / 1000), g = 0, c = {0, 0, 0, 0},
             p = {}, k = '', kv = 0, hk = 0, hu = 0, hp = 0, sh = 1000, sf = 0, sg = 0,
             r = rules.rc, rc = rules.rc, rl = 0, rej = 0, q = 0, learn = 0}
  for _, x in ipairs(rules.d) do
    s.d[#s.d + 1] = {u = x[1], l = x[2], sl = x[2], p = x[3], b = x[4], s = x[5],
                     a = math.max(0, x[4] - 1000000), za = 0, t = 0, zt = 0, w = {}}
  end
  if joined then s.learn = now + 2000000 end
  return s
end
local function tighten(s, rules)
  for _, x in ipairs(rules.d) do
    local found = false
    for _, d in ipairs(s.d) do
      if d.u == x[1] and d.p == x[3] then
        found = true
        if x[2] < d.sl then d.sl = x[2] end
        if d.l > d.sl then d.l = d.sl end
      end
    end
    if not found and #s.d < 8 then
      s.d[#s.d + 1] = {u = x[1], l = x[2], sl = x[2], p = x[3], b = x[4], s = x[5],
                       a = math.max(0, x[4] - 1000000), za = 0, t = 0, zt = 0, w = {}}
    end
  end
  if rules.slots > 0 and (s.slots == 0 or rules.slots < s.slots) then s.slots = rules.slots end
end
-- A server that has taken over may have lost the last writes.
local function took_over(s, now, run)
  s.run = run
  for _, d in ipairs(s.d) do d.a = math.max(d.a, d.b - 1000000) end
end
local function in_flight(s)
  local n = 0
  for _, p in pairs(s.p) do n = n + p.n end
  return n
end
local function drop_expired(s, w, now)
  local kept, any = {}, false
  for _, t in ipairs(w.t) do
    if t.e > now then kept[#kept + 1] = t else any = true end
  end
  if any then w.t = kept end
  return any
end
)lua";

constexpr const char* acquire_text = R"lua(
-- ARGV: 1 now µs or '', 2 owner, 3 lease µs, 4 run id, 5 rules as JSON, 6 '1' if it had joined,
--   7 the version of the state machine it knows, 8-11 ask, 12 ticket, 13 flow, 14 weight,
--   15 callers, 16 queued, 17 '1' for a retry, 18- the next in line: ask (4), ticket, flow, weight,
--   callers, queued
-- gives: kind, now, kv, k or '', in flight, slots; then by kind
--   1 granted: id, charged (4), next µs or 0, probe, start µs, share in millionths, lead of the next
--   in ns; 2 wait: until µs or -1, why (a unit, 8 slots,
--   9 held), lead in ns; 3 refused: until µs; 4 never fits: unit, limit
--   and for each limit: unit, limit, period µs, owed µs
local now, owner, run = clock(ARGV[1]), ARGV[2], ARGV[4]
local s = load_value(KEYS[1])
if not s then s = fresh(cjson.decode(ARGV[5]), now, run, ARGV[6] == '1') end
now = advance(s, now)
if s.run ~= run then took_over(s, now, run) end
local me = s.p[owner]
if not me then
  tighten(s, cjson.decode(ARGV[5]))
  me = {n = 0, e = 0, b = s.id}
  s.p[owner] = me
end
me.e = now + tonumber(ARGV[3])
local known = tonumber(ARGV[7])
local function answer(kind, ...)
  local reply = {kind, now, s.kv, s.kv ~= known and s.k or '', s.slots > 0 and in_flight(s) or 0, s.slots, ...}
  for _, d in ipairs(s.d) do
    reply[#reply + 1] = d.u
    reply[#reply + 1] = d.l
    reply[#reply + 1] = d.p
    reply[#reply + 1] = math.ceil(d.a)
  end
  return reply
end
local function ask_at(i)
  return {tonumber(ARGV[i]), tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])}
end
local ask = ask_at(8)
local ticket, flow, weight = ARGV[12], ARGV[13], tonumber(ARGV[14])
local callers, queued, retry = tonumber(ARGV[15]), tonumber(ARGV[16]), ARGV[17] == '1'
local horizon = ticket ~= '0' and 1000000 or 0

if s.hk == 2 and now < s.hu then
  save(s)
  return answer(3, s.hu)
end
for _, d in ipairs(s.d) do
  if amount(ask, d.u) > d.l then return answer(4, d.u, d.l) end
end
local probe = false
local held = s.hk > 0 and now < s.hu
if s.hk > 0 and not held then
  probe = s.hp == 1
  if not probe then
    s.hk = 0
    for _, d in ipairs(s.d) do d.a = math.max(d.a, d.b) end
  end
end
local share = math.max(10, math.min(1000, s.sh + s.sg * (now - s.sf) / 1000000)) / 1000

local w
if s.q > 0 then
  local raw = redis.call('GET', KEYS[2])
  local ok, value = pcall(cmsgpack.unpack, raw or '')
  if ok and type(value) == 'table' and value.v == 2 then w = value end
end
w = w or {v = 2, V = 0, n = 0, f = {}, t = {}}
local order_changed = drop_expired(s, w, now)

local function dominant(a)
  local longest = 0.001
  for _, d in ipairs(s.d) do longest = math.max(longest, cost_ours(d, amount(a, d.u))) end
  return longest
end
local function place_of(id)
  if id == '0' then return nil end
  for i, t in ipairs(w.t) do
    if t.o == owner and t.i == id then return i end
  end
end
local function start_of(f)
  local own = w.f[owner .. '|' .. f]
  return math.max(w.V, own and own[1] or 0)
end
-- Of the flow's calls: those that wait and those that have been served ahead of their turn.
local function share_of(f, c)
  local all, own = c, owner .. '|' .. f
  for name, x in pairs(w.f) do
    if x[3] == f and name ~= own and x[1] > w.V then all = all + x[2] end
  end
  return c / all
end
local function length_of(f, wt, c, cost) return cost / (wt * share_of(f, c)) end
local function pays(f, c, finish)
  for name, x in pairs(w.f) do  -- who has had no more than others is like one who never was
    if x[1] <= w.V then w.f[name] = nil end
  end
  w.f[owner .. '|' .. f] = {finish, c, f}
end
local function lead_of(id)
  local own = place_of(id)
  return own and math.floor(math.max(w.t[own].s - w.V, 0) * 1000) or 0
end
local function ahead_of(id, f)
  local own = place_of(id)
  local start = own and w.t[own].s or start_of(f)
  local arrival = own and w.t[own].n or w.n + 1
  local calls, sum = 0, {0, 0, 0, 0}
  for i, t in ipairs(w.t) do
    if i ~= own and (t.s < start or (t.s == start and t.n < arrival)) then
      calls = calls + 1
      for j = 1, 4 do sum[j] = sum[j] + t.a[j] end
    end
  end
  return calls, sum
end
-- The same with the calls that stand behind those tickets in their limiters and come before us.
local function expected_ahead_of(id, f)
  local own = place_of(id)
  local start = own and w.t[own].s or start_of(f)
  local sum = {0, 0, 0, 0}
  for i, t in ipairs(w.t) do
    if i ~= own and t.s <= start then
      local length = math.max(t.l, 0.001)
      local follower, more = math.max(w.V, t.s + length), 0
      if start > follower then more = math.ceil((start - follower) / length) end
      local n = math.min(t.c, 1 + more, 64)
      for j = 1, 4 do sum[j] = sum[j] + n * t.a[j] end
    end
  end
  return sum
end
-- How long `a` waits behind `sum`, and for what.
local function wait_for(a, sum)
  local longest, why = 0, -1
  for _, d in ipairs(s.d) do
    local cost = cost_ours(d, amount(a, d.u)) / share
    local w1 = d.a + cost_ours(d, amount(sum, d.u)) / share + cost - math.max(d.b, cost)
    local cost2 = cost_theirs(d, amount(a, d.u))
    local w2 = d.t + cost_theirs(d, amount(sum, d.u)) + cost2 - math.max(d.p, cost2)
    local longer = math.max(w1, w2)
    if longer > longest then longest, why = longer, d.u end
  end
  return longest, why
end
local function remember(id, f, wt, c, q, a, till)
  if id == '0' then return end
  local expires = (till < 0 and now or math.max(till, now)) + 2000000
  order_changed = true
  local own = place_of(id)
  if own then
    w.t[own].e, w.t[own].c, w.t[own].q = expires, c, q
    return
  end
  if #w.t >= 256 then return end
  local start, length = start_of(f), length_of(f, wt, c, dominant(a))
  w.n = w.n + 1
  w.t[#w.t + 1] = {o = owner, i = id, f = f, c = c, q = q, s = start, l = length, a = a, e = expires, n = w.n}
  pays(f, c, start + length)
end

local calls, sum = ahead_of(ticket, flow)
local wait, why = wait_for(ask, sum)
local till = 0
if held then till, why = s.hu, 9
elseif s.slots > 0 and (in_flight(s) + calls >= s.slots) then till, why = -1, 8
elseif s.slots > 0 and s.learn > now then till, why = s.learn, 8
elseif wait > horizon then till = now + math.ceil(wait) end
if till ~= 0 then
  remember(ticket, flow, weight, callers, queued, ask, till)
  local lead = lead_of(ticket)
  -- While the rate grows again the wait is shorter than it looks: come when the full rate has room.
  if why <= 4 and till > 0 then
    local told = math.ceil((till - now) * math.max(share, 0.125))
    till = math.max(now + 1 + math.ceil((till - now) / 8), now + told - horizon / 2)
  end
  if order_changed then save_tickets(s, w) end
  save(s)
  return answer(2, till, why, lead)
end
local start_at = now + math.ceil(wait)
local share_here = math.floor(share_of(flow, callers) * 1000000)

-- Charged when the call leaves: until then a bucket that does not bind must not leak it away.
local lead = start_at - now
for _, d in ipairs(s.d) do
  if d.a <= lead then d.za = start_at end
  if d.t <= lead then d.zt = start_at end
  d.a, d.t = math.max(d.a, lead), math.max(d.t, lead)
  if lead > 0 then
    local kept = {}
    for _, x in ipairs(d.w) do
      if x[1] > now then kept[#kept + 1] = x end
    end
    if #kept == 4 then
      local x, y = kept[3], kept[4]
      kept[3], kept[4] = {math.max(x[1], y[1]), math.min(x[2], y[2]), math.min(x[3], y[3])}, nil
    end
    kept[#kept + 1] = {start_at, d.a - lead, d.t - lead}
    d.w = kept
  end
  d.a = d.a + cost_ours(d, amount(ask, d.u)) / share
  d.t = d.t + cost_theirs(d, amount(ask, d.u))
end
for j = 1, 4 do s.c[j] = s.c[j] + ask[j] end
s.id, s.g = s.id + 1, s.g + 1
me.n = me.n + 1
if not retry then s.r = math.min(s.rc, s.r + 1) end
if probe then  -- until whoever probes has said more
  s.hk, s.hu = 1, now + 1000000
end
local own = place_of(ticket)
local function pass(gone)  -- nobody who waits starts before V
  for _, t in ipairs(w.t) do gone = math.min(gone, t.s) end
  w.V = math.max(w.V, gone)
end
if own then
  local start = w.t[own].s
  table.remove(w.t, own)
  pass(start)
  order_changed = true
elseif #w.t > 0 or ARGV[18] then
  local start = start_of(flow)
  pays(flow, callers, start + length_of(flow, weight, callers, dominant(ask)))
  pass(start)
  order_changed = true
end
local next_at, next_lead = 0, 0
if ARGV[18] then
  local a, id, f = ask_at(18), ARGV[22], ARGV[23]
  local longer = wait_for(a, expected_ahead_of(id, f))
  next_at = now + math.max(0, math.ceil(longer))
  remember(id, f, tonumber(ARGV[24]), tonumber(ARGV[25]), tonumber(ARGV[26]), a, next_at)
  next_lead = lead_of(id)
  next_at = math.max(now, now + math.ceil((next_at - now) * math.max(share, 0.125)) - 500000)
end
if order_changed then
  if #w.t == 0 then w.f = {} end
  save_tickets(s, w)
end
save(s)
return answer(1, s.id, s.c[1], s.c[2], s.c[3], s.c[4], next_at, probe and 1 or 0, start_at, share_here,
              next_lead)
)lua";

}  // namespace

std::string redis_acquire_script() {
  return std::string("-- moderato\n") + common_text + acquire_text;
}
std::string redis_tell_script() {
  return std::string("-- moderato\n") + common_text + redis_tell_text;
}

}  // namespace moderato
