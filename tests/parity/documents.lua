--- Small bakery.yaml texts: every key with every kind of value.
local HEAD = "repository: {url: https://example.org/r}\n"
local VERSIONS = "    versions: [{name: '1', os: [{name: Debian 12}]}]\n"

local VALUES = { "", "null", "~", "5", "0", "1", "2", "1.5", "1.0", "true", "false", "yes", "'5'",
  "'true'", "abc", "''", "[]", "[a]", "[5]", "[[a]]", "[{a: b}]", "{}", "{a: b}", "2026-01-01", "4.10",
  "'a b'", "1e3", "-1", "'a.b'", "A", '"a\\nb"', ".5", "012", "é" }

local out = {}

local function add(text) out[#out + 1] = text end
local function image(body) add(HEAD .. "images:\n  - name: img\n" .. body) end

-- Every key of `keys` with every value (and the extra ones), through a function of key and value.
local function each(keys, extra, make)
  for key in keys:gmatch("%S+") do
    for _, value in ipairs(VALUES) do make(key, value) end
    for _, value in ipairs(extra) do make(key, value) end
  end
end

-- A list entry made of `base` with one member replaced, at an indentation.
local function entry(base, key, value, indent)
  local members, order = {}, {}
  for k, v in base:gmatch("(%w+)=(%S+)") do
    members[k] = v
    order[#order + 1] = k
  end
  if not members[key] then order[#order + 1] = key end
  members[key] = value
  local lines = {}
  for i, k in ipairs(order) do
    lines[i] = (i == 1 and indent .. "- " or indent .. "  ") .. k .. ": " .. members[k]
  end
  return table.concat(lines, "\n") .. "\n"
end

each("displayName description documentationUrl subpath extraRegistries overrideRegistries variants "
  .. "dependencyConstraints devVersions matrix tagPatterns buildTarget buildSecrets options registries zz",
  { "Example.org" }, function(key, value) image("    " .. key .. ": " .. value .. "\n" .. VERSIONS) end)
each("versions", {}, function(key, value) image("    " .. key .. ": " .. value .. "\n") end)
each("name subpath extraRegistries overrideRegistries latest os dependencies values buildTarget zz", {},
  function(key, value) image("    versions:\n" .. entry("name=a", key, value, "      ")) end)
each("name primary platforms extension tagDisplayName artifactDownloadURL", { "[linux/amd64]",
  "[linux/arm64, linux/arm64]", "[linux/arm]", "https://x.y/$A", "http://x y" }, function(key, value)
    image("    versions:\n      - name: a\n        os:\n" .. entry("name=a", key, value, "          "))
  end)
each("name primary extension tagDisplayName tagPatterns options", {}, function(key, value)
  image("    variants:\n" .. entry("name=a", key, value, "      ") .. VERSIONS)
end)
each("namePattern subpath os extraRegistries overrideRegistries buildTarget", {}, function(key, value)
  image("    matrix:\n      values: {a: b}\n      " .. key .. ": " .. value .. "\n")
end)
each("values dependencies dependencyConstraints", { "{a: [b]}", "{a: 5}", "{a: [5]}", "{a: {b: c}}", "{a: }",
  "{1: b}", "{a: [{b: c}]}", "{a: []}", "{'': b}" }, function(key, value)
    image("    matrix:\n      " .. key .. ": " .. value .. "\n")
    image("    versions:\n      - name: a\n        " .. key .. ": " .. value .. "\n")
  end)
each("dependency version versions prerelease zz", { "R", "python", "quarto", "r", "[a, b]", "'a,b'", "['1']" },
  function(key, value)
    for _, base in ipairs { "dependency=R", "dependency=quarto" } do
      if key ~= "version" and key ~= "versions" then base = base .. " version=abc" end
      image("    versions:\n      - name: a\n        dependencies:\n" .. entry(base, key, value, "          "))
    end
  end)
for _, other in ipairs { "", "latest: true", "max: '4.3'", "min: '4'", "count: 2", "latest: true, min: '4.0.1'" } do
  each("latest count max min zz", { "'4'", "'4.3'", "'4.3.1'", "4", "4.3" }, function(key, value)
    if other:find(key, 1, true) then return end
    image("    dependencyConstraints:\n      - dependency: positron\n        constraint: {"
      .. (other ~= "" and other .. ", " or "") .. key .. ": " .. value .. "}\n" .. VERSIONS)
  end)
end
for _, base in ipairs { "sourceType=stream product=connect channel=daily",
  "sourceType=dependency dependency=positron" } do
  each("sourceType product channel stream dependency prerelease values os", { "stream", "channel",
    "dependency", "connect", "release", "preview", "daily", "positron" }, function(key, value)
      image("    devVersions:\n" .. entry(base, key, value, "      "))
    end)
end
each("id envVar zz", { "a-b", ".a", "_a", "A_1" }, function(key, value)
  image("    buildSecrets:\n" .. entry("id=a envVar=A", key, value, "      ") .. VERSIONS)
end)
each("patterns only", { "[latest]", "[all, all]", "['{{ A }}']", "['{{A}}/']", "[Latest]", "['a b']", "['']",
  "['{{ a }} {{ b }}']", "['{{}}']", "['R{{ V }}']", "['{% x %}']", "['{{ a }}}']" }, function(key, value)
    image("    tagPatterns:\n" .. entry("patterns=[a] only=[all]", key, value, "      ") .. VERSIONS)
  end)
for tool, keys in pairs {
  goss = "runtimeOptions command wait timeout zz",
  soci = "enabled span_size min_layer_size prefetch_files optimizations platforms",
  hadolint = "ignored labelSchema noFail override strictLabels disableIgnorePragma trustedRegistries",
  wizcli = "projects policies tags scanOsManagedLibraries scanGoStandardLibrary",
  nothing = "zz",
} do
  each(keys, { "{error: [a]}", "{error: a}", "[DL3008]" }, function(key, value)
    image("    options:\n" .. entry("tool=" .. tool, key, value, "      ") .. VERSIONS)
  end)
end
each("host namespace repository zz", {}, function(key, value)
  add(HEAD .. "registries:\n" .. entry("host=a", key, value, "  "))
  image("    extraRegistries:\n" .. entry("host=a", key, value, "      ") .. VERSIONS)
end)
each("url vendor maintainer authors zz", { "http://X.com", "x.com", "git@github.com:a/b.git",
  "'<REPLACE ME>'", "a@b.co", "A <a@b.co>", "{name: A, email: x}", "{email: x}", "[a@b.co]", "[5]" },
  function(key, value)
    add("repository:\n  zy: 1\n" .. (key ~= "url" and "  url: a.b\n" or "") .. "  " .. key .. ": " .. value .. "\n")
  end)
each("images registries repository zz", {}, function(key, value)
  add((key ~= "repository" and HEAD or "") .. key .. ": " .. value .. "\n")
end)
add(HEAD .. "images: []\nimages: []\n")
add(HEAD .. "---\na: b\n")
add("a: [\n")
add("\t- a\n")
add(HEAD .. "images: *x\n")

return out
