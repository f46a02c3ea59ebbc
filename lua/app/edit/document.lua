--- bakery.yaml under change: what editing commands do to it, as splices of the text. Positions are those
--- of the model (images and versions in the order of the file). All functions raise.
local fail = require "app.fail"
local version = require "bakery.version"
local yaml = require "bakery.yaml"

local M = {}

---@class app.edit.document
---@field editor bakery.yaml.editor
local Document = {}
Document.__index = Document

---@param project table
---@param editor bakery.yaml.editor
function M.new(project, editor)
  return setmetatable({ project = project, editor = editor }, Document)
end

--- Number of an image in the file.
---@param image table
---@return integer
function Document:index(image)
  for i, other in ipairs(self.project.images) do if other == image then return i end end
  error("no such image", 2)
end

local function path(...) return { ... } end

-- A list at a key gets one more item; the list is made when it is missing or empty.
function Document:add(list, at, value)
  local now = self.editor:get(list)
  if type(now) ~= "table" or #now == 0 then
    return fail.check(self.editor:set(list, require("bakery.json").array { value }))
  end
  return fail.check(self.editor:insert(list, at, value))
end

--- Appends an image.
---@param value table
function Document:add_image(value) self:add(path "images", nil, value) end

---@param image table
function Document:remove_image(image) fail.check(self.editor:remove(path("images", self:index(image)))) end

--- Order of two version names: 1 when a is the newer one. Names that are no versions are the oldest,
--- in the order of their texts.
---@param a string
---@param b string
---@return integer -1, 0 or 1
function M.compare(a, b)
  for _, kind in ipairs { "release", "pep440" } do
    local order = version.compare(a, b, kind)
    if order and order ~= 0 then return order end
  end
  return a == b and 0 or a < b and -1 or 1
end
local compare = M.compare

--- Where a new version belongs among others: by version, not by text. A list that goes upwards stays
--- so; any other is taken to go downwards. Entries that are there keep their places.
---@param names string[]
---@param name string
---@return integer position it will have
function M.position(names, name)
  local up, down = #names > 1, true
  for i = 2, #names do
    local order = compare(names[i - 1], names[i])
    up, down = up and order <= 0, down and order >= 0
  end
  local rising = up and not down
  for i, other in ipairs(names) do
    local order = compare(other, name)
    if rising and order > 0 or not rising and order < 0 then return i end
  end
  return #names + 1
end

--- Takes `latest` from a version; where the key comes from an anchor it is overridden.
---@param image table
---@param index integer
function Document:unmark(image, index)
  local at = path("images", self:index(image), "versions", index, "latest")
  if not self.editor:get(at) then return end -- it came from an anchor that has lost it
  local ok, err = self.editor:remove(at)
  if not ok and err.code == "yaml.edit" then ok, err = self.editor:set(at, false) end
  fail.check(ok, err)
end

---@param image table
---@param index integer
function Document:mark(image, index)
  fail.check(self.editor:set(path("images", self:index(image), "versions", index, "latest"), true))
end

--- Takes `latest` from every version but one.
---@param image table
---@param keep integer|nil
---@return string[] names of versions that lost it
function Document:unmark_others(image, keep)
  local names = {}
  for i, v in ipairs(image.versions) do
    if v.latest and i ~= keep then
      self:unmark(image, i)
      names[#names + 1] = v.name
    end
  end
  return names
end

--- Adds a version where its order puts it.
---@param image table
---@param value table
---@return integer index
function Document:add_version(image, value)
  local names = {}
  for i, v in ipairs(image.versions) do names[i] = v.name end
  local at = M.position(names, value.name)
  self:add(path("images", self:index(image), "versions"), at, value)
  return at
end

---@param image table
---@param index integer
function Document:remove_version(image, index)
  fail.check(self.editor:remove(path("images", self:index(image), "versions", index)))
end

--- Sets members of a version; false removes one.
---@param image table
---@param index integer
---@param members table[] { key, value } in order
function Document:set_version(image, index, members)
  self:set_members(path("images", self:index(image), "versions", index), members)
end

function Document:set_members(place, members)
  for _, member in ipairs(members) do
    local at = table.move(place, 1, #place, 1, {})
    at[#at + 1] = member[1]
    if member[2] then fail.check(self.editor:set(at, member[2]))
    elseif self.editor:get(at) ~= nil then fail.check(self.editor:remove(at)) end
  end
end

--- Sets single template values of a version, keeping the others.
---@param image table
---@param index integer
---@param pairs_ table[] { key, value }
function Document:set_values(image, index, pairs_)
  for _, p in ipairs(pairs_) do
    local at = path("images", self:index(image), "versions", index, "values", p[1])
    fail.check(self.editor:set(at, p[2]))
  end
end

--- Sets members of the matrix, which is made when there is none; false removes one.
---@param image table
---@param members table[] { key, value }
function Document:set_matrix(image, members)
  local place = path("images", self:index(image), "matrix")
  local now = self.editor:get(place)
  if now ~= nil and now ~= yaml.null then return self:set_members(place, members) end
  local value = require("app.edit.entry").object(members)
  for _, member in ipairs(members) do if not member[2] then value[member[1]] = nil end end
  fail.check(self.editor:set(place, value))
end

---@param image table
function Document:remove_matrix(image)
  fail.check(self.editor:remove(path("images", self:index(image), "matrix")))
end

return M
