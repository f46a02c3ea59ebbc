-- Which sources of ADD are URLs and git repositories, and what a git source says.
local containerfile = require "bakery.containerfile"

describe("a source", function()
  local kinds = {
    { "a/b.git" }, { "./x.git" }, { "github.com/a/b" }, { "ftp://h/x" }, { "git@h" }, { "a b@h:c" }, { "/git@h:c" },
    { "http://h/x", "http" }, { "HTTPS://h/x", "http" }, { "https://h/x.git/", "http" }, { "https://h/x.git.y", "http" },
    { "http://h/x.git:#main", "http" }, { "https://h/x?y=.git", "http" }, { "https://h/x#.git", "http" },
    { "https://h/x.git", "git" }, { "https://h/x.git#main:sub", "git" }, { "https://h/x.git?ref=a/b", "git" }, { "Http://h/x.git", "git" },
    { "https://u:p@h/x.git", "git" }, { "git://h/x", "git" }, { "ssh://u@h/x", "git" }, { "git@h:a/b", "git" },
    { "some_one-1@h.example:a/b.git#v1", "git" },
  }
  for _, row in ipairs(kinds) do
    it(row[1] .. " is " .. (row[2] or "a path"), function() assert.are.equal(row[2], containerfile.remote(row[1])) end)
  end
end)

describe("the git source", function()
  local commit = ("0123456789"):rep(4)
  local rows = {
    { "h/x.git", { url = "h/x.git" } },
    { "h/x.git#a%20b", nil, "no git repository or reference" },
    { "h/x.git#v1:a/b", { url = "h/x.git", ref = "v1", subdir = "a/b" } }, { "h/x.git#:a", { url = "h/x.git", subdir = "a" } },
    { "h/x.git?ref=v1&subdir=/a", { url = "h/x.git", ref = "v1", subdir = "/a" } },
    { "h/x.git?subdir=/a#v1", { url = "h/x.git", ref = "v1", subdir = "/a" } },
    { "u@h:x.git?tag=v1", { url = "u@h:x.git", ref = "refs/tags/v1" } },
    { "h/x.git?branch=refs/heads/v1", { url = "h/x.git", ref = "refs/heads/v1" } },
    { "h/x.git?branch=v1#refs/heads/v1", { url = "h/x.git", ref = "refs/heads/v1" } },
    { "h/x.git?keep-git-dir&submodules=false", { url = "h/x.git", keep_git_dir = true, submodules = false } },
    { "h/x.git?commit=" .. commit, { url = "h/x.git", ref = commit, checksum = commit } },
    { "h/x.git?checksum=abc", { url = "h/x.git", checksum = "abc" } },
    { "h/x.git?checksum=" .. commit .. "#v1", { url = "h/x.git", ref = "v1", checksum = commit } },
    { "h/x.git?ref=v1#v2", nil, "two values of ref: 'v2' and 'v1'" }, { "h/x.git?ref=v1&tag=v1", nil, "two values of ref" },
    { "h/x.git?tag=v1&branch=v1", nil, "two values of ref" }, { "h/x.git?subdir=a#v1:b", nil, "two values of subdir" },
    { "h/x.git?ref=", nil, "'ref' of a git source has no value" }, { "h/x.git?ref=a&ref=a", nil, "stands there twice" },
    { "h/x.git?invalid=1", nil, "unknown query key 'invalid'" }, { "h/x.git?submodules=perhaps", nil, "invalid value 'perhaps'" },
    { "h/x.git?subdir=../a", nil, "leaves the repository" }, { "h/x.git?commit=zz", nil, "'zz' is no commit" },
  }
  for _, row in ipairs(rows) do
    it(row[1], function()
      local parts, err = containerfile.git(row[1])
      if row[3] then assert.is_truthy(err and err.message:find(row[3], 1, true), err and err.message) end
      assert.are.same(row[2], parts)
    end)
  end
end)
