--- A live block on a terminal: one line per running target, finished ones scroll above it.
local process = require "bakery.process"
local loop = require "bakery.loop"
local color = require "app.report.color"
local errors = require "app.report.errors"
local format = require "app.report.format"

local M = {}
local Tty = {}
Tty.__index = Tty

local MAX_LINES = 12
local INTERVAL = 0.08

function M.open(opts)
  return setmetatable({ paint = color.painter(opts.color), color = opts.color, verbose = opts.verbose,
    running = {}, order = {}, drawn = 0, last = 0 }, Tty)
end

-- Columns, and lines that the block may have: never more than the terminal, for what has scrolled away
-- cannot be erased.
local function room()
  local cols, rows = process.winsize()
  return cols and cols > 20 and cols or 80, math.max(1, math.min(MAX_LINES, (rows or 24) - 2))
end

function Tty:erase()
  if self.drawn > 0 then io.stderr:write(("\27[%dA\27[J"):format(self.drawn)) end
  self.drawn = 0
end

function Tty:draw(force)
  local now = loop.now()
  if not force and now - self.last < INTERVAL then return end
  self.last = now
  self:erase()
  local cols, most = room()
  local shown = 0
  local out = {}
  for _, uid in ipairs(self.order) do
    local t = self.running[uid]
    if t and shown < most then
      shown = shown + 1
      local text = ("%s  %s  %s"):format(uid, format.seconds(now - t.started), t.what)
      out[#out + 1] = self.paint("blue", "● ") .. format.cut(text, cols - 4)
    end
  end
  local more = 0
  for _ in pairs(self.running) do more = more + 1 end
  if more > shown then
    shown = shown + 1
    out[#out + 1] = ("  … and %d more"):format(more - shown + 1)
  end
  if shown > 0 then io.stderr:write(table.concat(out, "\n"), "\n") end
  self.drawn = shown
end

function Tty:print(...)
  self:erase()
  io.stderr:write(table.concat { ... }, "\n")
  self:draw(true)
end

local function set(self, e, what)
  local t = self.running[e.target]
  if t then t.what = what end
  self:draw()
end

local handlers = {}

function handlers.hold(self) self:erase() end
function handlers.message(self, e) self:print(e.text) end
function handlers.warning(self, e)
  self:print(self.paint("yellow", "warning: "), e.where and e.where .. ": " or "", e.text)
end
function handlers.isolation(self, e)
  if not self.verbose then return end
  self:print("isolation: ", e.text)
  for _, reason in ipairs(e.reasons) do self:print("  ", reason) end
end
function handlers.failure(self, e) self:print("bakery: ", e.text) end
function handlers.target_started(self, e)
  if not self.running[e.target] then self.order[#self.order + 1] = e.target end
  self.running[e.target] = { started = loop.now(), what = "starting" }
  self:draw()
end
function handlers.step_started(self, e)
  set(self, e, ("%d/%d %s"):format(e.index, math.max(e.total, e.index), e.step.text or e.step.op))
end
function handlers.log(self, e)
  if self.verbose then self:print("[", e.target, "] | ", format.printable(e.text)) else set(self, e, "| " .. e.text) end
end
function handlers.target_done(self, e)
  self.running[e.target] = nil
  self:print(self.paint("green", "✔ "), e.target, "  ", format.short(e.result.image_id), "  ",
    format.seconds(e.result.seconds))
end
function handlers.target_failed(self, e)
  self.running[e.target] = nil
  if e.same_as then return end -- said there, with the targets that it is about
  self:print(self.paint("red", "✘ "), e.target, "\n", errors.text(e.error, { color = self.color, target = e.target }))
end
function handlers.push_started(self, e) self:print("↑ ", e.target, " → ", e.repository) end
function handlers.copy_started(self, e)
  if not self.running[e.target] then self.order[#self.order + 1] = e.target end
  self.running[e.target] = { started = loop.now(), what = "0 B of " .. format.bytes(e.total) }
  self:draw()
end
function handlers.copy_progress(self, e) set(self, e, format.bytes(e.done) .. " of " .. format.bytes(e.total)) end
function handlers.copied(self, e)
  self.running[e.target] = nil
  self:print(self.paint("green", "✔ "), e.target, "  ", format.short(e.digest), "  ", format.bytes(e.bytes), " sent")
end
function handlers.untagged(self, e) self:print("  removed ", e.ref) end
function handlers.tagged(self, e) self:print("  ", e.ref) end
function handlers.test(self, e)
  self:print(e.ok and self.paint("green", "✔ ") or self.paint("red", "✘ "), e.target, "  ", e.text)
end

function Tty:event(e)
  local h = handlers[e.type]
  if h then h(self, e) end
end

function Tty:finish() self:erase() end

return M
