-- The JSON Schema for editors is derived from the schema table.
local json = require "bakery.json"
local document = require("app.project.jsonschema").document

local function plain() return json.decode(json.encode(document())) end

describe("JSON Schema", function()
  it("names every key of an image", function()
    local image = plain().properties.images.items
    local names = {}
    for name in pairs(image.properties) do names[#names + 1] = name end
    table.sort(names)
    assert.are.same({ "buildSecrets", "buildTarget", "dependencyConstraints", "description", "devVersions",
      "displayName", "documentationUrl", "extraRegistries", "matrix", "name", "options", "overrideRegistries",
      "subpath", "tagPatterns", "variants", "versions" }, names)
    assert.are.same({ "name" }, image.required)
  end)
  it("closes registries, not images", function()
    local root = plain()
    assert.is_false(root.properties.registries.items.additionalProperties)
    assert.is_nil(root.properties.images.items.additionalProperties)
  end)
  it("carries defaults, enumerations and alternatives", function()
    local image = plain().properties.images.items.properties
    assert.are.same({ "linux/amd64", "linux/arm64" },
      image.versions.items.properties.os.items.properties.platforms.items.enum)
    assert.are.equal("sleep infinity", image.options.items.oneOf[1].properties.command.anyOf
      and image.options.items.oneOf[1].properties.command.anyOf.default
      or image.options.items.oneOf[1].properties.command.default)
    assert.are.equal("goss", image.options.items.oneOf[1].properties.tool.const)
    local function required(list) return { list[1].required, list[2].required } end
    assert.are.same({ { "versions" }, { "version" } }, required(image.versions.items.properties.dependencies.items.anyOf))
    assert.are.same({ { "channel" }, { "stream" } }, required(image.devVersions.items.oneOf[1].anyOf))
  end)
  it("hides internal keys", function()
    assert.is_nil(plain().properties.images.items.properties.devVersions.items.oneOf[1].properties.release_branch)
  end)
  it("is the same every time", function()
    assert.are.equal(json.encode(document()), json.encode(document()))
  end)
end)

-- Python's validator is the judge: an editor must not complain about what we accept.
describe("JSON Schema by python3-jsonschema", function()
  local fs = require "bakery.fs"
  local process = require "bakery.process"
  local project = require "app.project"
  local yaml = require "bakery.yaml"
  local probe = process.run { cmd = { "python3", "-c", "import jsonschema" } }
  local there = probe and probe.code == 0

  local function validate(documents)
    local input = os.tmpname()
    assert(fs.write(input, json.encode(json.object { { "schema", document() }, { "documents", json.array(documents) } })))
    local r = assert(process.run { cmd = { "sh", "-c", "exec python3 -W ignore tests/lib/jsonschema_check.py < \"$1\"", "sh", input } })
    os.remove(input)
    assert(r.code == 0, r.stderr)
    return json.decode(r.stdout)
  end

  it("accepts every fixture project", function()
    if not there then pending "needs python3-jsonschema" end
    local names, documents = {}, {}
    for _, root in ipairs { "tests/fixtures/projects", "examples" } do
      for _, name in ipairs(fs.list(root)) do
        local text = fs.read(fs.join(root, name, "bakery.yaml"))
        if text then
          names[#names + 1] = name
          documents[#documents + 1] = assert(yaml.load(text))
        end
      end
    end
    assert.is_true(#names > 20)
    for i, message in ipairs(validate(documents)) do assert.are.equal(json.null, message, names[i]) end
  end)

  it("accepts what the loader accepts, and refuses much of what it refuses", function()
    if not there then pending "needs python3-jsonschema" end
    local texts, documents, accepted = {}, {}, {}
    for i, text in ipairs(require "parity.documents") do
      local value = i % 5 == 0 and yaml.load(text)
      if type(value) == "table" and pcall(json.encode, value) then
        texts[#texts + 1], documents[#documents + 1] = text, value
        accepted[#texts] = project.parse(text) ~= nil
      end
    end
    assert.is_true(#texts > 600)
    local refused, caught = 0, 0
    for i, message in ipairs(validate(documents)) do
      if accepted[i] then
        assert.are.equal(json.null, message, texts[i])
      else
        refused = refused + 1
        if message ~= json.null then caught = caught + 1 end
      end
    end
    assert.is_true(caught > refused * 0.8, ("%d of %d"):format(caught, refused))
  end)
end)
