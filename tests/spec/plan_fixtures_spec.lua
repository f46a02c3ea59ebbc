-- The plan document of every fixture project, byte for byte.
local fs = require "bakery.fs"
local expected = require("lib.regenerate_plans").expected
local projects = require "lib.projects"

describe("fixture", function()
  for _, name in ipairs(fs.list(projects.dir)) do
    if fs.is_dir(fs.join(projects.dir, name)) then
      it(name, function()
        local text, file = expected(name)
        assert.are.equal(fs.read(fs.join(projects.dir, name, file)), text)
      end)
    end
  end
end)
