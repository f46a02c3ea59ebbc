--- Releases of a GitHub repository: `from: github:owner/repo`. `github:owner/repo#cli-v*` takes tags
--- of that form only; the version stands at the `*`. Drafts never count, prereleases when wanted.
local resolver = require "bakery.resolver"

local API = "https://api.github.com/repos/"
local PAGES = 10

return resolver.new {
  summary = "releases on GitHub: github:owner/repo",
  versions = function(ctx)
    local repository, pick = ctx:pattern()
    if not repository:find "^[%w._-]+/[%w._-]+$" then
      ctx:none(("%q is no owner/repository"):format(repository))
    end
    local url, out = API .. repository .. "/releases?per_page=100", {}
    for _ = 1, PAGES do
      local list, headers = ctx:json(url, { accept = "application/vnd.github+json",
        headers = { ["X-GitHub-Api-Version"] = "2022-11-28" } })
      if type(list) ~= "table" then ctx:unexpected(url, "no list of releases") end
      for _, release in ipairs(list) do
        local text = not release.draft and (ctx.prerelease or not release.prerelease)
          and pick(ctx:dig_text(release, url, "tag_name"))
        if text then out[#out + 1] = text end
      end
      url = (headers.link or ""):match '<([^>]+)>%s*;%s*rel="next"'
      if not url then break end
    end
    return ctx:versions_of(out)
  end,
}
