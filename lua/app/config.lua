--- The user's own settings: where they are, and config.yaml with
---   resolvers: { mirrors: { "https://cdn.posit.co": "https://mirror.example/posit" } }
local fail = require "app.fail"
local fs = require "bakery.fs"
local yaml = require "bakery.yaml"

local M = {}

local function directory(variable, default, home)
  local dir = os.getenv(variable)
  if not dir or dir == "" then dir = (os.getenv "HOME" or home or "/nonexistent") .. default end
  return dir .. "/bakery"
end

--- Directory of the user's configuration: $XDG_CONFIG_HOME/bakery.
---@return string
function M.dir() return directory("XDG_CONFIG_HOME", "/.config") end

--- Directory of what should outlive a run: $XDG_STATE_HOME/bakery.
---@return string
function M.state_dir() return directory("XDG_STATE_HOME", "/.local/state", "/tmp") end

--- Directory for what can be fetched again: $BAKERY_CACHE_DIR, else $XDG_CACHE_HOME/bakery.
---@return string
function M.cache_dir()
  local dir = os.getenv "BAKERY_CACHE_DIR"
  return dir and dir ~= "" and dir or directory("XDG_CACHE_HOME", "/.cache")
end

--- The user's config.yaml ($BAKERY_CONFIG names another file); an empty one when there is none.
--- Raises an error object for a file that cannot be read.
---@return { resolvers: { mirrors: { keys: string[], values: table<string, string> } }|nil }
function M.load()
  local named = os.getenv "BAKERY_CONFIG"
  local file = named and named ~= "" and named or M.dir() .. "/config.yaml"
  if file ~= named and not fs.is_file(file) then return {} end
  local text, err = fs.read(file, 1 << 20)
  if not text then
    err.class, err.hint = "usage", "BAKERY_CONFIG names this file"
    error(err, 0)
  end
  local doc
  doc, err = yaml.parse(text, { name = file })
  if not doc then
    err.class, err.path = "usage", file
    fail.raise(err)
  end
  local ctx = require("app.project.problems").new(file, file)
  local root = doc:root() or { kind = "map", keys = {}, map = {}, line = 1, col = 1 }
  local value = require("app.project.validate").value(require("app.project.schema").CONFIG, root, {}, ctx)
  if #ctx.errors > 0 then
    fail.raise { class = "usage", code = "config", errors = ctx.errors, message = ctx.errors[1].message }
  end
  return value
end

return M
