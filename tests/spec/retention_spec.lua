--- Retention: policies as tables, and marking and sweeping against a model on random repositories.
local digest = require "bakery.digest"
local json = require "bakery.json"
local graph = require "app.retention.graph"
local policy = require "app.retention.policy"
local prune = require "app.retention.prune"

local INDEX, IMAGE = "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"
local NOW, DAY = 1800000000, 86400

local function stamp(at) return os.date("!%Y-%m-%dT%H:%M:%SZ", at) end

-- A repository in memory. Option: api (it has the referrers API).
local function repository(opts)
  local r = { name = "host/repo", manifests = {}, tag_of = {}, deleted = {} }
  function r.put(doc)
    local raw = json.encode(doc)
    local d = "sha256:" .. digest.sha256(raw)
    r.manifests[d] = { digest = d, media_type = doc.mediaType, raw = raw, doc = doc }
    return d
  end
  function r.tags()
    local out = {}
    for tag in pairs(r.tag_of) do out[#out + 1] = tag end
    table.sort(out)
    return out
  end
  function r.get(name) return r.manifests[r.tag_of[name] or name] end
  function r.shows(tag) return r.tag_of[tag] end
  function r.referrers(d)
    local out = {}
    for _, m in pairs(opts.api and r.manifests or {}) do
      if m.doc.subject and m.doc.subject.digest == d then out[#out + 1] = { digest = m.digest } end
    end
    return out
  end
  function r.created() return nil end
  function r.delete_tag(tag)
    r.tag_of[tag] = nil
  end
  function r.delete(d)
    assert(r.manifests[d], "deleted twice: " .. d)
    r.manifests[d] = nil
    r.deleted[d] = true
    for tag, shown in pairs(r.tag_of) do if shown == d then r.tag_of[tag] = nil end end
  end
  return r
end

local function image(r, name, more)
  local doc = { mediaType = IMAGE, config = { digest = "sha256:" .. digest.sha256(name) }, annotations = { name = name } }
  for k, v in pairs(more or {}) do doc[k] = v end
  if doc.created then
    doc.annotations["org.opencontainers.image.created"] = stamp(doc.created)
    doc.created = nil
  end
  return r.put(doc)
end

local function index(r, children, more)
  local doc = { mediaType = INDEX, manifests = json.array {}, annotations = {} }
  for i, d in ipairs(children) do doc.manifests[i] = { digest = d } end
  if more and more.created then doc.annotations["org.opencontainers.image.created"] = stamp(more.created) end
  return r.put(doc)
end

local function rules(list)
  local out = { rules = {}, grace = 0 }
  for i, rule in ipairs(list) do out.rules[i] = policy.rule(rule, "test", i) end
  return out
end

local function decide(list, tags)
  local items = {}
  for i, t in ipairs(tags) do items[i] = type(t) == "table" and t or { tag = t } end
  local _, gone = policy.decide(rules(list), items, NOW)
  local out = {}
  for tag in pairs(gone) do out[#out + 1] = tag end
  table.sort(out)
  return out
end

describe("retention policy", function()
  it("keeps what no rule speaks of", function()
    assert.same({}, decide({}, { "1.0", "x" }))
    assert.same({ "1.0" }, decide({ { tags = "^1", count = 0 } }, { "1.0", "x" }))
  end)
  it("keeps the newest of each version line", function()
    local tags = { "1.0.1", "1.0.2", "1.0.10", "1.1.0", "2.0.0", "v1.0.3" }
    assert.same({ "1.0.1", "1.0.2" }, decide({ { tags = "^v?\\d", count = 2 } }, tags))
    assert.same({ "1.0.1", "1.0.10", "1.0.2", "v1.0.3" }, decide({ { count = 1, line = "major" } }, tags))
    assert.same({ "1.0.1", "1.0.10", "1.0.2", "1.1.0", "v1.0.3" }, decide({ { count = 1, line = "all" } }, tags))
    assert.same({}, decide({ { count = 1, line = "patch" } }, tags))
  end)
  it("gives variants and systems lines of their own", function()
    assert.same({ "1.0.1-min", "1.0.1-ubuntu-22.04" }, decide({ { count = 1 } },
      { "1.0.1-min", "1.0.2-min", "1.0.1-ubuntu-22.04", "1.0.2-ubuntu-22.04" }))
  end)
  it("goes by age only where the age is known", function()
    local tags = { { tag = "a", created = NOW - 100 * DAY }, { tag = "b", created = NOW - DAY }, { tag = "c" } }
    assert.same({ "a" }, decide({ { days = 90 } }, tags))
  end)
  it("keeps what any rule keeps", function()
    local tags = { { tag = "1.0.0", created = NOW - 100 * DAY }, { tag = "1.0.1", created = NOW - 100 * DAY },
      { tag = "latest", created = NOW - 100 * DAY } }
    assert.same({ "1.0.0" }, decide({ { tags = "^latest$" }, { count = 1, tags = "^1" }, { days = 30 } }, tags))
  end)
  it("says what is wrong with a file", function()
    for text, problem in pairs {
      ["keep: 5"] = "keep: expected a list", ["kep: []"] = "did you mean 'keep'?", ["keep: [{count: -1}]"] = "must not be negative",
      ["keep: [{count: 1.5}]"] = "count: expected a integer", ["keep: [{line: week}]"] = "line is major, minor, patch or all",
      ["keep: [{tags: '('}]"] = "keep[0]: tags:", ["keep: [5]"] = "keep[0]: expected a mapping", ["{"] = "", [""] = "expected a mapping",
    } do
      local ok, err = pcall(policy.parse, text, "p.yaml")
      assert.is_false(ok, text)
      assert.equal("usage", err.class, text)
      assert.truthy(tostring(err.message):find(problem, 1, true), text .. ": " .. tostring(err.message))
    end
  end)
end)

describe("prune", function()
  it("keeps children and referrers of a kept index, whoever else names them", function()
    local r = repository { api = true }
    local shared, only = image(r, "shared"), image(r, "only")
    r.tag_of["1.0.0"] = index(r, { shared, only })
    r.tag_of["1.0.1"] = index(r, { shared })
    local sbom = image(r, "sbom", { subject = { digest = only } })
    local plan = prune.plan(r, rules { { count = 1 } }, NOW)
    assert.equal(1, #plan.tags)
    assert.same({ tag = "1.0.0", digest = r.tag_of["1.0.0"], reason = "no rule keeps it" }, plan.tags[1])
    local old = r.tag_of["1.0.0"]
    prune.apply(r, plan, function() end)
    assert.same({ [old] = true, [only] = true, [sbom] = true }, r.deleted)
  end)
  it("gives way before an image with a hole", function()
    local r = repository {}
    r.tag_of["1.0.0"] = image(r, "old")
    r.tag_of["1.0.1"] = index(r, { "sha256:" .. ("0"):rep(64) })
    local ok, err = pcall(prune.plan, r, rules { { count = 1 } }, NOW)
    assert.is_false(ok)
    assert.equal("prune.unresolved", err.code)
  end)
  it("leaves what is younger than the grace", function()
    local r = repository {}
    r.tag_of["1.0.0"], r.tag_of["1.0.1"] = image(r, "a", { created = NOW - 3600 }), image(r, "b", { created = NOW })
    local p = rules { { count = 1 } }
    p.grace = 2
    assert.same({}, prune.plan(r, p, NOW).tags)
    p.grace = 0.5
    assert.equal(1, #prune.plan(r, p, NOW).tags)
  end)
  it("notices what changed since a plan was saved", function()
    local r = repository {}
    r.tag_of["1.0.0"], r.tag_of["1.0.1"] = image(r, "a"), image(r, "b")
    local saved = prune.plan(r, rules { { count = 1 } }, NOW)
    prune.recheck(saved, prune.plan(r, rules { { count = 1 } }, NOW), r.name)
    r.tag_of["1.0.0"] = image(r, "c")
    local ok, err = pcall(prune.recheck, saved, prune.plan(r, rules { { count = 1 } }, NOW), r.name)
    assert.is_false(ok)
    assert.equal("drift", err.class)
  end)
end)

-- Independent of the code under test: what can be got at from the given tags in a repository.
local function reachable(r, tags, subjects)
  local seen, todo = {}, {}
  for _, tag in ipairs(tags) do todo[#todo + 1] = r.tag_of[tag] end
  while #todo > 0 do
    local d = table.remove(todo)
    local m = r.manifests[d]
    if not seen[d] and m then
      seen[d] = true
      for _, c in ipairs(m.doc.manifests or {}) do todo[#todo + 1] = c.digest end
      if subjects and m.doc.subject then todo[#todo + 1] = m.doc.subject.digest end
      for other, o in pairs(r.manifests) do
        if o.doc.subject and o.doc.subject.digest == d then todo[#todo + 1] = other end
      end
      todo[#todo + 1] = r.tag_of[d:gsub(":", "-") .. ".sig"]
    end
  end
  return seen
end

-- Images, indexes of indexes, referrers of referrers and old signatures, with tags on some; the repository, its
-- manifests and its own tags.
local function random_repository(name, opts)
  local r, pool, own = repository(opts), {}, {}
  for i = 1, math.random(1, 10) do pool[i] = image(r, name .. "/" .. i) end
  for _ = 1, math.random(0, 5) do
    local children, seen = {}, {}
    for _ = 1, math.random(1, 4) do
      local d = pool[math.random(#pool)]
      if not seen[d] then children[#children + 1] = d end
      seen[d] = true
    end
    pool[#pool + 1] = index(r, children, { created = NOW - math.random(400) * DAY })
  end
  for i = 1, math.random(0, 5) do
    local subject = pool[math.random(#pool)]
    local d = image(r, name .. "/ref" .. i, { subject = { digest = subject } })
    pool[#pool + 1] = d
    if not opts.api then
      local fallback = subject:gsub(":", "-")
      local known = r.tag_of[fallback] and r.manifests[r.tag_of[fallback]].doc.manifests or {}
      local list = { d }
      for _, k in ipairs(known) do list[#list + 1] = k.digest end
      r.tag_of[fallback] = index(r, list)
    end
  end
  for i = 1, math.random(0, 2) do
    r.tag_of[pool[math.random(#pool)]:gsub(":", "-") .. ".sig"] = image(r, name .. "/sig" .. i)
  end
  for i = 1, math.random(1, 8) do
    local tag = ("%d.%d.%d"):format(math.random(2), math.random(2), i)
    own[#own + 1], r.tag_of[tag] = tag, pool[math.random(#pool)]
  end
  return r, pool, own
end

local function copy_of(t)
  local out = {}
  for k, v in pairs(t) do out[k] = v end
  return out
end

-- What somebody else may do meanwhile; returns a tag that shows something else now.
local function meddle(r, pool, own, name)
  local d = pool[math.random(#pool)]
  if not r.manifests[d] then return end
  local what = math.random(5)
  if what == 1 then
    local tag = own[math.random(#own)]
    local other = r.tag_of[tag] ~= d and tag or nil
    r.tag_of[tag] = d
    return other, d
  elseif what == 2 then r.tag_of["new-" .. name] = d
  elseif what == 3 then r.tag_of["new-" .. name] = index(r, { d, image(r, name) })
  elseif what == 4 then r.tag_of[d:gsub(":", "-") .. ".sig"] = image(r, name)
  else r.tag_of[own[math.random(#own)]] = nil end
end

describe("prune on random repositories", function()
  it("never takes from a kept tag what it needs, and leaves nothing of the others", function()
    math.randomseed(20261126)
    for round = 1, 300 do
      local r, _, own = random_repository(round, { api = round % 2 == 0 })
      local before = copy_of(r.tag_of)
      local list = { { count = math.random(0, 2), line = ({ "major", "minor", "all" })[math.random(3)] } }
      if math.random(2) == 1 then list[2] = { days = math.random(300) } end
      local plan = prune.plan(r, rules(list), NOW)
      local doomed, kept, gone = {}, {}, {}
      for _, t in ipairs(plan.tags) do doomed[t.tag] = true end
      for _, tag in ipairs(own) do table.insert(doomed[tag] and gone or kept, tag) end
      local needed, dropped = reachable(r, kept), reachable(r, gone)
      prune.apply(r, plan, function() end)
      local what = "round " .. round
      for _, tag in ipairs(kept) do assert.equal(before[tag], r.tag_of[tag], what) end
      for _, tag in ipairs(gone) do assert.is_nil(r.tag_of[tag], what) end
      for d in pairs(needed) do assert.is_table(r.manifests[d], what .. ": " .. d .. " is needed") end
      for d in pairs(r.deleted) do assert.is_true(not needed[d], what) end
      -- what only dropped tags led to is gone, unless a tag that is still there leads to it, by a subject too
      local left = {}
      for tag in pairs(r.tag_of) do left[#left + 1] = tag end
      local held = reachable(r, left, true)
      for d in pairs(dropped) do
        if r.manifests[d] then assert.is_true(held[d] == true, what .. ": " .. d .. " was left behind") end
      end
      -- no index has lost a child that was there
      for d, m in pairs(r.manifests) do
        if needed[d] then for _, c in ipairs(m.doc.manifests or {}) do assert.is_table(r.manifests[c.digest], what) end end
      end
      -- a second run finds nothing to do
      assert.same({}, prune.plan(r, rules(list), NOW).manifests, what)
    end
  end)
  -- What tags show is whole but for what was not whole before.
  local function assert_whole(r, before, what)
    local own = {}
    for tag in pairs(r.tag_of) do
      if not graph.belongs_to(tag) then own[#own + 1] = tag end
    end
    for d in pairs(reachable(r, own)) do
      for _, c in ipairs(r.manifests[d].doc.manifests or {}) do
        assert.is_true(r.manifests[c.digest] ~= nil or not before[c.digest], what .. ": a child is gone")
      end
    end
    for tag, d in pairs(r.tag_of) do assert.is_table(r.manifests[d], what .. ": " .. tag .. " dangles") end
  end

  it("stops before what others have done since the plan, and while it is carried out", function()
    math.randomseed(4711)
    local stopped, went = 0, 0
    for round = 1, 400 do
      local r, pool, own = random_repository(round, { api = round % 2 == 0 })
      local before, what = copy_of(r.manifests), "round " .. round
      local plan = prune.plan(r, rules { { count = math.random(0, 1) } }, NOW)
      local tag, shows
      if round % 4 < 2 then
        meddle(r, pool, own, what)
      else
        local delete, left = r.delete_tag, math.random(0, #plan.tags)
        function r.delete_tag(name)
          delete(name)
          left = left - 1
          if left == 0 then tag, shows = meddle(r, pool, own, what) end
        end
      end
      local tags = copy_of(r.tag_of)
      local ok, err = pcall(prune.apply, r, plan, function() end)
      if ok then
        went = went + 1
      else
        stopped = stopped + 1
        assert.same({ "drift", "prune.changed" }, { err.class, err.code }, tostring(err))
        assert.is_nil(next(r.deleted), what)
        if round % 4 < 2 then assert.same(tags, r.tag_of, what) end
      end
      if tag then assert.equal(shows, r.tag_of[tag], what .. ": " .. tag .. " was set by somebody else") end
      assert_whole(r, before, what)
    end
    assert.is_true(stopped > 50 and went > 50, stopped .. " stopped, " .. went .. " went through")
  end)

  it("decides nothing when anything it comes to cannot be had", function()
    math.randomseed(815)
    local failed = 0
    for round = 1, 100 do
      local r, pool = random_repository(round, { api = true })
      local bad, get, referrers, asked = pool[math.random(#pool)], r.get, r.referrers, false
      local function trouble(d)
        if d ~= bad then return end
        asked = true
        error({ class = "infra", code = "http.503" }, 0)
      end
      if round % 2 == 0 then function r.get(name) trouble(r.tag_of[name] or name) return get(name) end
      else function r.referrers(d) trouble(d) return referrers(d) end end
      local ok, err = pcall(prune.plan, r, rules { { count = 0 } }, NOW)
      assert.equal(not asked, ok)
      if asked then
        failed = failed + 1
        assert.equal("http.503", err.code)
      end
    end
    assert.is_true(failed > 20)
  end)

  it("does not guess what a manifest means", function()
    local fine = { mediaType = IMAGE, config = { digest = "sha256:" .. digest.sha256 "c" } }
    local function with(more)
      local doc = copy_of(fine)
      for k, v in pairs(more) do doc[k] = v end
      return doc
    end
    local cases = { { "unknown type application/x", with { mediaType = "application/x" } },
      { "unknown type text/html", { config = fine.config }, "text/html" }, { "the registry says", fine, INDEX },
      { "malformed subject", with { subject = 5 } }, { "malformed subject", with { subject = { digest = "sha256:no" } } },
      { "an index without manifests", { mediaType = INDEX } }, { "an index without manifests", { mediaType = INDEX, manifests = 1 } },
      { "malformed entry 1", { mediaType = INDEX, manifests = json.array { 5 } } },
      { "malformed entry 2", { mediaType = INDEX, manifests = json.array { fine.config, { digest = "latest" } } } },
      { "an image with a list of manifests", with { manifests = json.array { fine.config } } }, { "not a manifest", 7, IMAGE } }
    for _, case in ipairs(cases) do
      local r = repository {}
      r.tag_of["1.0.1"] = image(r, "b")
      local raw = json.encode(case[2])
      local d = "sha256:" .. digest.sha256(raw)
      r.manifests[d] = { digest = d, media_type = case[3] or case[2].mediaType, raw = raw, doc = {} }
      r.tag_of["1.0.0"] = d
      local ok, err = pcall(prune.plan, r, rules { { count = 1 } }, NOW)
      assert.is_false(ok, case[1])
      assert.same({ "infra", "prune.unresolved" }, { err.class, err.code })
      assert.truthy(err.message:find(case[1], 1, true), err.message)
    end
    local r = repository {}
    r.manifests.x = { digest = "x", media_type = IMAGE, raw = '{"mediaType": "appl', doc = {} }
    r.tag_of["1.0.0"] = "x"
    assert.is_false((pcall(prune.plan, r, rules { { count = 1 } }, NOW)))
  end)

  it("takes BuildKit's caches and attestations as what they are", function()
    local r = repository {}
    local blob = "sha256:" .. digest.sha256 "a layer"
    r.tag_of.keep = r.put { mediaType = INDEX, manifests = json.array { { digest = blob,
      mediaType = "application/vnd.oci.image.layer.v1.tar+zstd" } } }
    local made, about = image(r, "made", { created = NOW - 100 * DAY }), image(r, "attestation")
    r.tag_of.old = r.put { mediaType = INDEX, manifests = json.array { { digest = made, mediaType = IMAGE },
      { digest = about, mediaType = IMAGE, platform = { os = "unknown", architecture = "unknown" } } } }
    local plan = prune.plan(r, rules { { tags = "^keep$" }, { days = 30 } }, NOW)
    assert.equal(1, #plan.tags)
    assert.equal(3, #plan.manifests)
    -- a child that is an image and is not there is a hole
    r.tag_of.keep = r.put { mediaType = INDEX, manifests = json.array { { digest = blob, mediaType = IMAGE } } }
    assert.is_false((pcall(prune.plan, r, rules { { tags = "^keep$" }, { days = 30 } }, NOW)))
  end)

  it("takes old signatures along whose image is not there any more", function()
    local r = repository {}
    local gone = "sha256:" .. digest.sha256 "gone"
    r.tag_of["1.0.0"] = index(r, { gone })
    r.tag_of[gone:gsub(":", "-") .. ".sig"] = image(r, "signature")
    r.tag_of["1.0.1"] = image(r, "new")
    local plan = prune.plan(r, rules { { count = 1 } }, NOW)
    assert.equal(2, #plan.tags)
    prune.apply(r, plan, function() end)
    assert.same({ ["1.0.1"] = r.tag_of["1.0.1"] }, r.tag_of)
  end)

  it("leaves what may be younger than the grace", function()
    local r = repository {}
    r.tag_of["1.0.0"], r.tag_of["1.0.1"] = image(r, "a"), image(r, "b")
    local p = rules { { count = 1 } }
    assert.equal(1, #prune.plan(r, p, NOW).tags)
    p.grace = 1
    local plan = prune.plan(r, p, NOW)
    assert.same({ 0, 2 }, { #plan.tags, #plan.kept })
    assert.truthy(plan.kept[1].reason:find("age is unknown", 1, true))
  end)

  it("knows fallback tags and old signatures", function()
    local hex = ("a"):rep(64)
    assert.same({ "sha256:" .. hex, "referrers" }, { graph.belongs_to("sha256-" .. hex) })
    assert.same({ "sha256:" .. hex, "sig" }, { graph.belongs_to("sha256-" .. hex .. ".sig") })
    assert.is_nil(graph.belongs_to("sha256-abc"))
    assert.is_nil(graph.belongs_to("sha256-" .. hex .. ".zip"))
  end)
end)
