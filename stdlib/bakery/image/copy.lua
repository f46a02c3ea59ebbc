--- Images from place to place: everything is looked up first, then blobs go over (the largest first,
--- each once), then manifests from the leaves up, names last.
local loop = require "bakery.loop"
local oci = require "bakery.oci"
local task = require "bakery.task"
local document = require "bakery.image.document"
local fault = require "bakery.image.fault"

local M = {}

local DEPTH, MANIFESTS = 5, 5000

local function too_much(src, what)
  fault.raise { class = "infra", code = "oci.manifest", message = ("%s: %s"):format(src.text, what) }
end

---@class bakery.image.node
---@field m table manifest
---@field children bakery.image.node[] of an index
---@field referrers bakery.image.node[]
---@field blobs table[] descriptors

-- Everything below a manifest as a graph of nodes, one per digest.
local function gatherer(src, opts)
  local nodes, count = {}, 0
  local G = {}

  local function get(d)
    local m = src:get(d.digest)
    if m.size ~= d.size then too_much(src, ("manifest %s has %d bytes, its index says %d"):format(d.digest, m.size, d.size)) end
    return m
  end

  -- What a list of referrers still names although it was deleted is left out.
  local function referrer(d, subject)
    local done, m = pcall(get, d)
    if done then return m end
    if m.code ~= "oci.not_found" and m.code ~= "ENOENT" then error(m, 0) end
    if opts.emit then opts.emit { type = "warning", text = ("%s: %s, which refers to %s, is gone"):format(src.text, d.digest, subject) } end
  end

  local function referrers(node, depth)
    if not opts.referrers then return end
    local found = task.map(src:referrers(node.m.digest), opts.jobs, function(d)
      local m = referrer(d, node.m.digest)
      return m and G.visit(m, depth + 1) or false
    end)
    for _, n in ipairs(found) do if n then table.insert(node.referrers, n) end end
    -- Signatures of older cosign have tags instead.
    node.legacy = {}
    for _, suffix in ipairs(src.named and { ".sig", ".att", ".sbom" } or {}) do
      local tag = oci.fallback_tag(node.m.digest) .. suffix
      local m = src:named(tag)
      if m then node.legacy[#node.legacy + 1] = { tag = tag, node = G.visit(m, depth + 1) } end
    end
  end

  function G.visit(m, depth)
    if depth > DEPTH then too_much(src, "indexes nested too deep") end
    local node = nodes[m.digest]
    if node then return node end
    count = count + 1
    if count > MANIFESTS then too_much(src, "more than " .. MANIFESTS .. " manifests") end
    node = { m = m, children = {}, referrers = {}, blobs = {} }
    nodes[m.digest] = node
    if document.is_index(m) then
      local below = {}
      for _, d in ipairs(document.children(m)) do
        if document.is_manifest_type(d.mediaType) then below[#below + 1] = d else table.insert(node.blobs, d) end
      end
      node.children = task.map(below, opts.jobs, function(d) return nodes[d.digest] or G.visit(get(d), depth + 1) end)
    else
      node.blobs = document.blobs(m)
    end
    referrers(node, depth)
    return node
  end
  return G
end

-- Marks what the destination has already: with a manifest comes all it names.
local function look(dst, node, opts, done)
  if done[node] ~= nil then return end
  done[node] = false
  local has = not opts.force and dst:has(node.m.digest)
  done[node] = has
  if not has then task.map(node.children, opts.jobs, function(n) look(dst, n, opts, done) end) end
  task.map(node.referrers, opts.jobs, function(n) look(dst, n, opts, done) end)
  for _, l in ipairs(node.legacy or {}) do look(dst, l.node, opts, done) end
end

-- Nodes that are to be stored: children before parents, subjects before what refers to them.
local function order(root, has)
  local list, seen = {}, {}
  local function add(node)
    if seen[node] then return end
    seen[node] = true
    if not has[node] then
      for _, n in ipairs(node.children) do add(n) end
      list[#list + 1] = node
    end
    for _, n in ipairs(node.referrers) do add(n) end
    for _, l in ipairs(node.legacy or {}) do add(l.node) end
  end
  add(root)
  return list
end

local function blobs_of(list)
  local blobs, seen, bytes = {}, {}, 0
  for _, node in ipairs(list) do
    for _, d in ipairs(node.blobs) do
      if not seen[d.digest] then
        seen[d.digest] = true
        blobs[#blobs + 1] = d
        bytes = bytes + d.size
      end
    end
  end
  table.sort(blobs, function(a, b)
    if a.size ~= b.size then return a.size > b.size end
    return a.digest < b.digest
  end)
  return blobs, bytes
end

-- Reports progress while fn runs.
local function watched(counter, emit, target, fn)
  local ticker = loop.spawn(function()
    while true do
      loop.sleep(0.2)
      local done, total = counter:get()
      emit { type = "copy_progress", target = target, done = done, total = total }
    end
  end)
  local r = table.pack(pcall(fn))
  ticker:cancel()
  if not r[1] then error(r[2], 0) end
  return table.unpack(r, 2, r.n)
end

-- What a manifest names, brought once more.
local function bringer(src, dst, node)
  return function()
    for _, d in ipairs(node.blobs) do dst:put_blob(d, src) end
    for _, n in ipairs(node.children) do dst:put(n.m, bringer(src, dst, n)) end
  end
end

local function put_all(src, dst, list, root, opts)
  local waiting = {}
  for _, node in ipairs(list) do waiting[node] = true end
  local once = task.once()
  local function put(node)
    if not waiting[node] then return end
    once:run(node.m.digest, function()
      task.map(node.children, opts.jobs, put)
      if node ~= root or opts.untagged then dst:put(node.m, bringer(src, dst, node)) end
      return true
    end)
  end
  put(root)
  return put
end

local function put_referrers(dst, root, put)
  local seen, count = {}, 0
  local function walk(node)
    if seen[node] then return end
    seen[node] = true
    for _, n in ipairs(node.children) do walk(n) end
    for _, n in ipairs(node.referrers) do
      put(n)
      count = count + 1
      walk(n)
    end
    for _, l in ipairs(node.legacy or {}) do
      put(l.node)
      dst:tag(l.node.m, l.tag)
      count = count + 1
    end
  end
  walk(root)
  return count
end

-- The graph to copy, and which of its nodes the destination has. Where it has the whole, or its names
-- show it already, there is no need to look at what is below; asking for it goes on beside looking at that.
local function survey(src, dst, m, opts)
  local has = {}
  local function graph()
    opts.graphs = opts.graphs or {}
    opts.graphs[m] = opts.graphs[m] or gatherer(src, opts).visit(m, 1)
    return opts.graphs[m]
  end
  if not opts.force and not opts.referrers then
    local shown = dst.shows and #(opts.tags or {}) == 0 and dst:shows(m)
    local there, root = shown, nil
    if not shown then
      local found = task.all { function() return dst:has(m.digest) end, graph }
      there, root = found[1], found[2]
    end
    if there then
      local leaf = { m = m, children = {}, referrers = {}, blobs = {} }
      has[leaf] = true
      return leaf, has, shown
    end
    has[root] = false
    task.map(root.children, opts.jobs, function(n) look(dst, n, opts, has) end)
    return root, has, false
  end
  local root = graph()
  look(dst, root, opts, has)
  return root, has, false
end

--- Copies an image or index to one place.
---@param src table place
---@param dst table place
---@param m table manifest of src
---@param opts table { jobs, force, referrers, dry_run, emit, tags }; what was read of the source is kept in it
---@return table { ref=, digest=, manifests=, blobs={exists,mounted,uploaded}, bytes=, referrers= }
function M.to(src, dst, m, opts)
  local emit = opts.emit or function() end
  local root, has, shown = survey(src, dst, m, opts)
  local list = order(root, has)
  local blobs, bytes = blobs_of(list)
  local done = { ref = dst.text, digest = root.m.digest, media_type = root.m.media_type, manifests = #list, bytes = bytes,
    blobs = { exists = 0, mounted = 0, uploaded = 0 }, uploaded_bytes = 0, referrers = 0 }
  if opts.dry_run then
    done.blobs = { planned = #blobs }
    return done
  end
  local counter = loop.counter()
  counter:add(0, bytes)
  emit { type = "copy_started", target = dst.text, digest = root.m.digest, total = bytes, source = src.text }
  watched(counter, emit, dst.text, function()
    task.map(blobs, opts.jobs, function(d)
      local how = dst:put_blob(d, src, counter)
      done.blobs[how] = done.blobs[how] + 1
      if how == "uploaded" then done.uploaded_bytes = done.uploaded_bytes + d.size end
      emit { type = "pushed_blob", target = dst.text, digest = d.digest, size = d.size, how = how }
    end)
  end)
  local put = put_all(src, dst, list, root, { jobs = opts.jobs, untagged = opts.referrers })
  done.referrers = opts.referrers and put_referrers(dst, root, put) or 0
  done.tagged = {}
  for _, name in ipairs(opts.tags or { false }) do
    local ref = shown or dst:tag(root.m, name or opts.default_tag, has[root] == false, bringer(src, dst, root))
    table.insert(done.tagged, ref)
    emit { type = "tagged", target = dst.text, ref = ref }
  end
  emit { type = "copied", target = dst.text, digest = root.m.digest, bytes = done.uploaded_bytes, blobs = done.blobs }
  return done
end

return M
