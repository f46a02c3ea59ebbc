-- The selector: filters, modes, warnings, order, uids (config.md 2.7, 2.8.6, 2.10; commands.md 3).
local plan = require "app.plan"
local projects = require "lib.projects"
local target = require "app.plan.target"

local function uids(name, filters, opts)
  local found = projects.fixture(name)
  return (projects.uids(found, filters, opts))
end

local function warnings(name, filters, opts)
  local list, found = projects.uids(projects.fixture(name), filters, opts)
  return projects.texts(found), list
end

describe("uid", function()
  it("is image-version-variant-os in lower case", function()
    assert.are.equal("my_image-2025-05-1-513-pro3-a-b-ubuntu-22-x",
      target.uid("My_Image", "2025.05.1+513.pro3", "A B", "Ubuntu/22 x"))
  end)
  it("carries the channel of development versions unless it is release", function()
    assert.are.equal("a-1-daily", target.uid("a", "1", nil, nil, "daily"))
    assert.are.equal("a-1", target.uid("a", "1", nil, nil, "release"))
    assert.are.equal("a-1-o", target.uid("a", "1", nil, "o", nil))
  end)
  it("twice is an error", function()
    local found = projects.image [[
    versions:
      - {name: 1.0, os: [{name: u, primary: true}]}
      - {name: "1-0", os: [{name: u, primary: true}]}
]]
    local list, err = projects.targets(found)
    assert.is_nil(list)
    assert.are.equal("plan.duplicate_uid", err.code)
    assert.is_truthy(err.message:find('"img-1-0-u"', 1, true))
  end)
  it("equal row names collide", function()
    local found = projects.image("    matrix: {namePattern: same, values: {a: [b, c]}, os: [{name: u}]}\n")
    local list, err = projects.targets(found, { matrix_versions = "include" })
    assert.is_nil(list)
    assert.are.equal("plan.duplicate_uid", err.code)
    list, err = require("app.plan").select(found, { matrix_versions = "include" })
    assert.is_nil(list)
    assert.are.equal("plan.duplicate_uid", err.code)
  end)
  it("letters beyond ASCII change case, directories are tidy", function()
    local found = projects.image [[
    subpath: ./x//
    versions: [{name: Ü1, subpath: ., os: [{name: ÉL 9}]}]
]]
    local list = projects.targets(found)
    assert.are.equal("img-ü1-él-9", list[1].uid)
    assert.are.equal("x/Containerfile.l9", list[1].containerfile)
  end)
end)

describe("name filters", function()
  it("search a regular expression", function()
    assert.are.equal(6, #uids("prefixes", { image_name = "app" }))
    assert.are.equal(3, #uids("prefixes", { image_name = "^app$" }))
    assert.are.same({ "server-app-1-0-0-debian-12" }, uids("prefixes", { image_name = "^ser.*p$" }))
    assert.are.same({}, uids("prefixes", { image_name = "nope" }))
  end)
  it("a bad expression is the user's mistake", function()
    for _, name in ipairs { "image_name", "image_os", "image_variant", "image_platform" } do
      local list, err = projects.targets(projects.fixture "prefixes", { [name] = "(" })
      assert.is_nil(list)
      assert.are.equal("usage", err.class)
      assert.is_truthy(err.message:find("--" .. name:gsub("_", "-"), 1, true))
    end
  end)
  it("variants, systems and platforms", function()
    assert.are.same({ "x-1-0-0-min-alma-9", "x-1-0-0-min-ubuntu-22-04", "x-1-0-0-min-ubuntu-24-04" },
      uids("variants-os", { image_variant = "min" }))
    assert.are.equal(6, #uids("variants-os", { image_os = "[Uu]buntu" }))
    assert.are.same({ "x-1-0-0-a-b-c!-ubuntu-24-04", "x-1-0-0-min-ubuntu-24-04", "x-1-0-0-std-ubuntu-24-04" },
      uids("variants-os", { image_platform = { "linux/arm64" } }))
    assert.are.equal(9, #uids("variants-os", { image_platform = { "arm64", "amd64" } }))
  end)
  it("a variant filter on an image without variants selects nothing", function()
    assert.are.same({}, uids("minimal", { image_variant = "Standard" }))
  end)
  it("OS and platform filters are ignored for versions without OS, with a warning", function()
    local texts, list = warnings("no-os", { image_os = "Ubuntu" })
    assert.are.same({ "tool_box-1-2-3-rc1", "tool_box-2" }, list)
    assert.are.equal(2, #texts)
    assert.is_truthy(texts[1]:find("has no operating systems", 1, true))
  end)
  it("platforms are narrowed to those that match", function()
    local list = assert(projects.targets(projects.fixture "registries-two",
      { image_platform = { "arm64" } }))
    for _, item in ipairs(list) do assert.are.same({ "linux/arm64" }, item.platforms) end
    assert.are.equal(2, #list)
  end)
end)

describe("version filter", function()
  for _, case in ipairs {
    { "2026", 3 }, { "2026.05", 2 }, { "2026.05.0", 2 }, { "2026.5", 2 }, { "2026.05.0-dev", 1 },
    { "2026.05.0-rc", 0 }, { "2026.05.1", 0 }, { "20", 0 }, { "2026.0", 0 }, { "2026.04.1", 1 },
  } do
    it(case[1] .. " selects " .. case[2], function()
      assert.are.equal(case[2], #uids("prefixes", { image_name = "^app$", image_version = case[1] }))
    end)
  end
  it("dependency forms need exact leading pairs", function()
    local filters = { matrix_versions = "include", image_variant = "Standard", image_os = "22" }
    local function count(version)
      filters.image_version = version
      return #uids("matrix-deps", filters)
    end
    assert.are.same({ 3, 0, 0, 0, 1 }, { count "R4.4.3", count "R4.4", count "python3.12.1",
      count "4.4.3", count "R4.4.3-python3.12.2" })
  end)
  it("names a match that other filters drop", function()
    local texts = warnings("prefixes", { image_version = "2026.04.1", latest = true })
    assert.are.same({ "app 2026.04.1 matches --image-version but is left out: it is not the latest version" },
      texts)
  end)
end)

describe("latest", function()
  it("keeps latest versions only", function()
    assert.are.same({ "app-2026-05-0-debian-12", "app-server-2026-05-0-debian-12",
      "app-server-2026-05-0-ubuntu-24-04" }, uids("prefixes", { latest = true }))
  end)
  it("warns together with development versions", function()
    local texts = warnings("prefixes", { latest = true, dev_versions = "include" })
    assert.are.same({ "--latest never selects development versions" }, texts)
  end)
end)

describe("matrix mode", function()
  it("exclude skips the image whole", function()
    assert.are.same({ "plain-1-0-0-debian-12" }, uids("matrix-and-versions"))
  end)
  it("include takes rows instead of versions", function()
    assert.are.same({ "both-v1-0-0-debian-12", "both-v2-0-0-debian-12", "plain-1-0-0-debian-12" },
      uids("matrix-and-versions", { matrix_versions = "include" }))
  end)
  it("only skips images without a matrix", function()
    assert.are.same({ "both-v1-0-0-debian-12", "both-v2-0-0-debian-12" },
      uids("matrix-and-versions", { matrix_versions = "only" }))
  end)
  it("tells why a named image is skipped", function()
    assert.are.same({ 'image "both" is skipped: it has a matrix, and --matrix-versions is exclude' },
      (warnings("matrix-and-versions", { image_name = "both" })))
    assert.are.same({ 'image "plain" is skipped: it has no matrix, and --matrix-versions is only' },
      (warnings("matrix-and-versions", { image_name = "plain", matrix_versions = "only" })))
    assert.are.same({ 'image "plain" matches --image-name but gives no targets' },
      (warnings("matrix-and-versions", { image_name = "plain", image_version = "7" })))
  end)
  it("unknown modes are refused", function()
    for _, name in ipairs { "matrix_versions", "dev_versions", "dev_channel" } do
      local list, err = projects.targets(projects.fixture "minimal", { [name] = "maybe" })
      assert.is_nil(list)
      assert.are.equal("usage", err.class)
    end
  end)
end)

describe("development versions", function()
  local function dev(filters, opts)
    filters.dev_versions = filters.dev_versions or "include"
    opts = opts or {}
    opts.resolver = opts.resolver or projects.resolver(opts.requests)
    return projects.uids(projects.fixture "dev-versions", filters, opts)
  end
  it("are left out by default and cost no look-up", function()
    local requests = {}
    projects.uids(projects.fixture "dev-versions", {}, { resolver = projects.resolver(requests) })
    assert.are.same({}, requests)
  end)
  it("are added, unresolvable ones skipped with a warning", function()
    local list, found = dev {}
    assert.are.same({ "ide-2026-02-1-5-ubuntu-22-04", "ide-2026-03-0-212-ubuntu-22-04-daily",
      "product-2026-01-0-ubuntu-22-04", "product-2026-03-0-daily-89-pro1-ubuntu-22-04-daily" }, list)
    local texts = projects.texts(found)
    assert.is_truthy(texts[1]:find("no workbench build for Rocky 9", 1, true))
    assert.is_truthy(texts[2]:find("package-manager preview skipped: nothing there", 1, true))
  end)
  it("only drops the others", function()
    assert.are.equal(2, #dev { dev_versions = "only" })
  end)
  it("are looked up for selected images only", function()
    local requests = {}
    dev({ image_name = "ide" }, { requests = requests })
    assert.are.same({ { kind = "versions", dependency = "positron", prerelease = true,
      constraint = { latest = true, count = 1 } } }, requests)
  end)
  it("a channel drops other development versions, not releases", function()
    assert.are.equal(4, #dev { dev_channel = "daily" })
    assert.are.equal(2, #dev { dev_channel = "preview" })
    assert.are.equal(0, #dev { dev_channel = "release", dev_versions = "only" })
  end)
  it("a channel without development versions warns", function()
    local texts = warnings("dev-versions", { dev_channel = "daily" })
    assert.are.same({ "--dev-channel has no effect without --dev-versions" }, texts)
  end)
  it("without a resolver are skipped with a warning", function()
    local list, found = projects.uids(projects.fixture "dev-versions", { dev_versions = "only" })
    assert.are.same({}, list)
    assert.are.equal(3, #found)
    assert.is_truthy(found[1].message:find("no resolver is here", 1, true))
  end)
  it("carry what a build needs", function()
    local list = assert(projects.targets(projects.fixture "dev-versions",
      { dev_versions = "only", image_name = "product" }, { resolver = projects.resolver() }))
    local item = list[1]
    assert.are.equal("product/.dev-2026.03.0-daily+89.pro1", item.version_dir)
    assert.are.equal("https://dl.example/Ubuntu 22.04", item.model.os.artifact_download_url)
    assert.are.same({ { dependency = "R", versions = { "4.5.1" } } }, item.model.version.dependencies)
    assert.are.equal("daily", item.channel)
    assert.is_true(item.model.version.ephemeral)
  end)
  it("a dev-spec pins one entry", function()
    local requests = {}
    local list = dev({ dev_spec = '{"version": "2026.04.0-daily+1", "channel": "daily"}', image_name = "product",
      dev_versions = "only" }, { requests = requests })
    assert.are.same({ "product-2026-04-0-daily-1-ubuntu-22-04-daily" }, list)
    assert.are.equal("2026.04", requests[1].release_branch)
    assert.are.equal("2026.04.0-daily+1", requests[1].version)
  end)
  it("a dev-spec that fits several entries is refused", function()
    local list, err = projects.targets(projects.fixture "dev-versions",
      { dev_versions = "only", dev_spec = '{"version": "2026.04.0"}' }, { resolver = projects.resolver() })
    assert.is_nil(list)
    assert.is_truthy(err.message:find("2 development versions", 1, true))
  end)
  it("a dev-spec is ignored without development versions", function()
    assert.are.equal(2, #uids("dev-versions", { dev_spec = "nonsense" }))
  end)
  it("a missing product build that was asked for is an error", function()
    local function resolver(request)
      if request.kind == "versions" then return projects.AVAILABLE[request.dependency] end
      return nil, { code = "devspec.unavailable", message = "no such build", class = "usage" }
    end
    local list, err = projects.targets(projects.fixture "dev-versions",
      { dev_versions = "only", dev_spec = '{"version": "2026.04.0", "channel": "daily"}' },
      { resolver = resolver })
    assert.is_nil(list)
    assert.are.equal("devspec.unavailable", err.code)
  end)
  it("on an image with a matrix count as rows", function()
    local list = assert(projects.targets(projects.fixture "dev-dependency",
      { dev_versions = "only", matrix_versions = "include", image_name = "mx",
        dev_spec = { version = "2026.03.0-212" } }))
    assert.are.equal("mx/matrix/Containerfile.ubuntu2204", list[1].containerfile)
    assert.are.same({ { "POSITRON_VERSION", "2026.03.0-212" } }, list[1].args)
  end)
end)

describe("dev-spec", function()
  local devspec = require "app.project.devspec"
  for _, text in ipairs { "2026.06.0-daily+143.pro1", "2026.6.0", "0.0.0", "1.02.3", "1.2.3-a-b.0.c1",
    "1.2.3+001.A-b", "2026.06.0-15" } do
    it("accepts " .. text, function() assert.is_true(devspec.is_calver(text)) end)
  end
  for _, text in ipairs { "2026.06", "2026.06.00", "02026.1.0", "2026.06.0-01", "2026.06.0+a_b", "1.2.3.4",
    "1.2.3-", "1.2.3+", "1.2.3-a..b", "v1.2.3", "", "1.2.3-a_b", "1.2.3 " } do
    it(("refuses %q"):format(text), function() assert.is_false(devspec.is_calver(text)) end)
  end
  it("is an object with known keys", function()
    assert.are.same({ version = "1.2.3", channel = "daily" },
      devspec.parse '{"version": " 1.2.3 ", "channel": "daily"}')
    assert.are.same({ release_branch = "x" }, devspec.parse '{"release_branch": "x", "version": null}')
    for _, text in ipairs { "", "{", "[]", "5", "{}", '{"channel": "daily"}', '{"version": ""}',
      '{"version": 5}', '{"version": "1.2.3", "x": 1}', '{"version": "1.2.3", "channel": "stable"}' } do
      local spec, err = devspec.parse(text)
      assert.is_nil(spec)
      assert.are.equal("usage", err.class)
    end
  end)
end)

describe("order and explanation", function()
  it("targets are sorted by their display text", function()
    local out = {}
    for i, item in ipairs(assert(projects.targets(projects.fixture "variants-os"))) do out[i] = item.display end
    assert.are.equal("ImageTarget(image='x', version='1.0.0', variant='A-b c!', os='Alma 9')", out[1])
    local sorted = { table.unpack(out) }
    table.sort(sorted)
    assert.are.same(sorted, out)
  end)
  it("says what was left out", function()
    local _, _, skipped = projects.targets(projects.fixture "prefixes",
      { image_name = "^app$", image_version = "2026.04" }, { explain = true })
    assert.are.same({
      { what = "app 2026.05.0-dev+15-gabc", reason = "--image-version" },
      { what = "app 2026.05.0", reason = "--image-version" },
      { what = "app-server", reason = "--image-name" },
      { what = "server-app", reason = "--image-name" },
    }, skipped)
  end)
  it("describes the active filters", function()
    assert.are.equal("--image-name a --image-platform x --image-platform y --latest",
      plan.describe_filters { image_name = "a", image_platform = { "x", "y" }, latest = true })
    assert.are.equal("none", plan.describe_filters {})
  end)
  it("tells of tags that two targets share", function()
    local found = projects.image [[
    versions:
      - {name: 1.0.0, latest: true, os: [{name: u}]}
      - {name: 2.0.0, latest: true, os: [{name: u}]}
]]
    local _, list = projects.targets(found)
    assert.are.equal("plan.tag_collision", list[1].code)
    assert.are.equal(1, #list)
  end)
end)
