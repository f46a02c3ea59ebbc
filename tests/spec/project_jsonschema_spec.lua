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
    assert.are.same({ { required = { "versions" } }, { required = { "version" } } },
      image.versions.items.properties.dependencies.items.anyOf)
    assert.are.same({ { required = { "channel" } }, { required = { "stream" } } },
      image.devVersions.items.oneOf[1].anyOf)
  end)
  it("hides internal keys", function()
    assert.is_nil(plain().properties.images.items.properties.devVersions.items.oneOf[1].properties.release_branch)
  end)
  it("is the same every time", function()
    assert.are.equal(json.encode(document()), json.encode(document()))
  end)
end)
