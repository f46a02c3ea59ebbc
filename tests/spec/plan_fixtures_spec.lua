-- The plan document, the job matrix and the rendered files of every fixture project, byte for byte.
local fs = require "bakery.fs"
local fixtures = require "lib.regenerate_plans"
local projects = require "lib.projects"

describe("fixture", function()
  for _, name in ipairs(fixtures.names()) do
    it(name, function()
      local dir, expected = fs.join(projects.dir, name), fixtures.expected(name)
      for path, item in pairs(expected) do
        local full = fs.join(dir, path)
        assert.are.equal(fs.read(full), item.text, path)
        if item.mode then assert.are.equal(fs.stat(full).mode & 73, item.mode & 73, path) end
      end
      assert.are.same({}, projects.strays(dir, expected))
    end)
  end
end)
