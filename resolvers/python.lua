--- CPython releases that have builds for Linux, from the list of python-build-standalone in uv.
local resolver = require "bakery.resolver"

local URL = "https://raw.githubusercontent.com/astral-sh/uv/refs/heads/main/crates/uv-python/download-metadata.json"

return resolver.new {
  summary = "CPython, as uv knows it",
  versions = function(ctx)
    local builds = ctx:json(URL)
    if type(builds) ~= "table" then ctx:unexpected(URL, "no object of builds") end
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
    if #out == 0 then ctx:unexpected(URL, "no CPython builds for linux in it") end
    table.sort(out)
    return out
  end,
}
