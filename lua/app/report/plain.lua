--- Plain lines on standard error: one per event, prefixed with the target.
local color = require "app.report.color"
local errors = require "app.report.errors"
local format = require "app.report.format"

local M = {}
local Plain = {}
Plain.__index = Plain

function M.open(opts)
  return setmetatable({ paint = color.painter(opts.color), color = opts.color, verbose = opts.verbose }, Plain)
end

local function line(...) io.stderr:write(table.concat { ... }, "\n") end

local function step_title(e)
  return ("%d/%d %s"):format(e.index or 0, math.max(e.total or 0, e.index or 0), format.cut(e.step.text or e.step.op, 100))
end

local handlers = {}

function handlers.message(self, e) line(e.text) end
function handlers.warning(self, e)
  line(self.paint("yellow", "warning: "), e.where and e.where .. ": " or "", e.text)
end
function handlers.isolation(self, e)
  if not self.verbose then return end
  line("isolation: ", e.text)
  for _, reason in ipairs(e.reasons) do line("  ", reason) end
end
function handlers.failure(_, e) line("bakery: ", e.text) end
function handlers.target_started(self, e)
  line(self.paint("bold", "[" .. e.target .. "]"), " building for ", table.concat(e.platforms, ", "))
end
function handlers.step_running(self, e)
  line("[", e.target, "] ", self.paint("blue", "run    "), format.cut(e.step.text or e.step.op, 100))
end
function handlers.step_done(self, e)
  line("[", e.target, "] ", self.paint("green", "done   "), step_title(e), " ", format.seconds(e.seconds or 0))
end
function handlers.step_cached(self, e)
  line("[", e.target, "] ", self.paint("dim", e.source and "remote " or "cached "), step_title(e))
end
function handlers.log(self, e) line("[", e.target, "] | ", self.color and e.text or format.printable(e.text)) end
function handlers.pull(self, e) line("pull ", e.image, " ", e.platform) end
function handlers.download(self, e) line("download ", format.short(e.digest), " ", format.bytes(e.size or 0)) end
function handlers.unpack(self, e) if self.verbose then line("unpack ", format.short(e.digest)) end end
function handlers.target_done(self, e)
  line(self.paint("green", "[" .. e.target .. "] built "), format.short(e.result.image_id), " in ",
    format.seconds(e.result.seconds))
end
function handlers.target_failed(self, e)
  if e.same_as then return end -- said there, with the targets that it is about
  line(self.paint("red", "[" .. e.target .. "] failed"))
  line(errors.text(e.error, { color = self.color, target = e.target }))
end
function handlers.push_started(self, e) line("[", e.target, "] push ", e.repository, " ", format.short(e.digest)) end
function handlers.pushed_blob(self, e)
  if self.verbose then line("[", e.target, "] ", e.how, " ", format.short(e.digest), " ", format.bytes(e.size)) end
end
function handlers.cache_written(_, e) line("[", e.target, "] cache ", e.ref, " ", tostring(e.layers), " layers") end
function handlers.copy_started(_, e)
  line("copy ", e.source, " ", format.short(e.digest), " to ", e.target, ", ", format.bytes(e.total))
end
function handlers.copied(_, e)
  line("copied ", format.bytes(e.bytes), " to ", e.target, ("; %d blobs sent, %d mounted, %d there"):format(e.blobs.uploaded,
    e.blobs.mounted, e.blobs.exists))
end
function handlers.soci_layer(self, e)
  line("[", e.target or "-", "] SOCI ", format.short(e.digest), " ", tostring(e.spans), " spans")
end
function handlers.untagged(_, e) line("[", e.target, "] removed ", e.ref) end
function handlers.tagged(self, e) line("[", e.target, "] tagged ", e.ref) end
function handlers.test(self, e)
  line("[", e.target, "] ", e.ok and self.paint("green", "ok     ") or self.paint("red", "FAILED "), e.text)
end

function Plain:event(e)
  local h = handlers[e.type]
  if h then h(self, e) end
end

function Plain:finish() end

return M
