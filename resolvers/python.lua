--- CPython releases that have builds for Linux, from the list of python-build-standalone in uv.
local resolver = require "bakery.resolver"

-- The list has moved inside uv's repository: where it is, where it was.
local UV = "https://raw.githubusercontent.com/astral-sh/uv/refs/heads/main/crates/"
local PLACES = { UV .. "uv-python-managed/download-metadata.json", UV .. "uv-python/download-metadata.json" }

local function is_missing(err) return err.code == "http.404" or err.code == "offline" end

local function fetch(ctx)
  local failed
  for _, url in ipairs(PLACES) do
    local ok, builds = pcall(ctx.json, ctx, url)
    if ok then return builds, url end
    failed = failed or builds
    if type(builds) ~= "table" or not is_missing(builds) then error(builds, 0) end
  end
  error(failed, 0)
end

return resolver.new {
  summary = "CPython, as uv knows it",
  versions = function(ctx)
    local builds, url = fetch(ctx)
    if type(builds) ~= "table" then ctx:unexpected(url, "no object of builds") end
    local out = {}
    for _, build in pairs(builds) do
      local pre = type(build) == "table" and build.prerelease or ""
      if type(build) == "table" and build.name == "cpython" and build.os == "linux" and (pre == "" or ctx.prerelease) then
        local numbers = { build.major, build.minor, build.patch }
        if math.type(numbers[1]) and math.type(numbers[2]) and math.type(numbers[3]) then
          out[#out + 1] = ("%d.%d.%d%s"):format(numbers[1], numbers[2], numbers[3], pre)
        end
      end
    end
    if #out == 0 then ctx:unexpected(url, "no CPython builds for linux in it") end
    table.sort(out)
    return out
  end,
}
