--- Releases of a package on PyPI or another index with the JSON form of the simple API (PEP 691, 700):
--- `from: pypi:numpy`. Releases whose files are all yanked do not count.
local resolver = require "bakery.resolver"

-- The release that a file belongs to: name-1.0.tar.gz, name-1.0-py3-none-any.whl.
local function release_of(file)
  local wheel = file:match "^[^-]+%-([^-]+)%-.*%.whl$"
  if wheel then return wheel end
  local stem = file:match "^(.*)%.tar%.[%w]+$" or file:match "^(.*)%.zip$" or file:match "^(.*)%.tgz$"
  return stem and stem:match "%-([^-]+)$"
end

return resolver.new {
  summary = "packages on PyPI: pypi:NAME",
  versions = function(ctx)
    local name = ctx:pattern():gsub("[-_.]+", "-"):lower()
    local url = "https://pypi.org/simple/" .. resolver.encode(name) .. "/"
    local doc = ctx:json(url, { accept = "application/vnd.pypi.simple.v1+json" })
    local good, yanked = {}, {}
    local files = ctx:dig_table(doc, url, "files")
    for _, file in ipairs(files) do
      local release = release_of(ctx:dig_text(file, url, "filename"))
      if release then (file.yanked and yanked or good)[release] = true end
    end
    local out = {}
    if type(doc.versions) == "table" then
      for _, text in ipairs(doc.versions) do
        if good[text] or not yanked[text] then out[#out + 1] = text end
      end
    else
      for release in pairs(good) do out[#out + 1] = release end
      table.sort(out)
    end
    return ctx:versions_of(out)
  end,
}
