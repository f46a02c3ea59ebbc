--- What editing commands make of bakery.yaml, byte for byte: one row per text and command.
local fs = require "bakery.fs"
local world = require "lib.world"

local HEAD = "repository: {url: github.com/acme/images}\n"

-- Writes the project with a template for every image directory and runs the command in it.
local function run(text, args, images)
  local dir = world.tmp()
  world.write(dir, { ["bakery.yaml"] = text })
  for _, image in ipairs(images or { "a", "b" }) do
    world.write(dir, { [image .. "/template/Containerfile.jinja2"] = "FROM scratch\nLABEL v={{ Image.Version | default('m') }}\n" })
  end
  local r = world.bakery(args, { cwd = dir })
  return r, dir
end

local function words(line)
  local out = {}
  for w in line:gmatch "%S+" do out[#out + 1] = w end
  return out
end

-- { name, command line, text, wanted text }; HEAD stands in front of both.
local rows = {
  { "new entries go above older ones, comments stay where they are", "create version a 3.0.0", [[
images:
  # the first
  - name: a   # A
    versions:
      # newest first
      - name: 2.0.0
        latest: true   # yes
        os:
          - name: Ubuntu 24.04   # noble
            platforms: [linux/amd64, linux/arm64]

      # the old one
      - name: '1.0.0'
  # the second
  - name: b
]], [[
images:
  # the first
  - name: a   # A
    versions:
      # newest first
      - name: 3.0.0
        latest: true
        os:
          - name: Ubuntu 24.04
            primary: true
            platforms:
              - linux/amd64
              - linux/arm64
      - name: 2.0.0
        os:
          - name: Ubuntu 24.04   # noble
            platforms: [linux/amd64, linux/arm64]

      # the old one
      - name: '1.0.0'
  # the second
  - name: b
]] },
  { "order is that of versions, not of texts", "create version a 2026.10.0 --no-mark-latest", [[
images:
- name: a
  versions:
  - {name: 2026.11.0, latest: true}
  - name: 2026.9.0
  - name: 2026.8.0
]], [[
images:
- name: a
  versions:
  - {name: 2026.11.0, latest: true}
  - name: 2026.10.0
  - name: 2026.9.0
  - name: 2026.8.0
]] },
  { "a rising list keeps rising", "create version a 10.0.0 --no-mark-latest", [[
images:
  - name: a
    versions:
      - name: 8.0.0
      - name: 9.0.0
]], [[
images:
  - name: a
    versions:
      - name: 8.0.0
      - name: 9.0.0
      - name: 10.0.0
]] },
  { "the last entry is not mixed up with the next image's comment", "create version a 0.1.0 --no-mark-latest", [[
images:
  - name: a
    versions:
      - name: 1.0.0

  # b is special
  - name: b
]], [[
images:
  - name: a
    versions:
      - name: 1.0.0
      - name: 0.1.0

  # b is special
  - name: b
]] },
  { "versions are made where there are none", "create version b 1.10 --value k=v=w --value n=1 --subpath x", [[
images:
  - name: b
    description: >-
      folded text
      over lines
    # trailing
]], [[
images:
  - name: b
    description: >-
      folded text
      over lines
    versions:
      - name: '1.10'
        subpath: x
        latest: true
        values:
          k: v=w
          'n': '1'
    # trailing
]] },
  { "an empty list becomes a block", "create version a 1.0.0", [[
images:
  - name: a
    versions: []   # none yet
]], [[
images:
  - name: a
    versions:   # none yet
      - name: 1.0.0
        latest: true
]] },
  { "flow style stays flow style", "create version a 2.0.0", [[
images: [{name: a, versions: [{name: 1.0.0, latest: true}]}, {name: b}]
]], [[
images: [{name: a, versions: [{name: 2.0.0, latest: true}, {name: 1.0.0}]}, {name: b}]
]] },
  { "CRLF stays CRLF", "create version a 2.0.0", "images:\r\n  - name: a\r\n    versions:\r\n      - name: 1.0.0\r\n        latest: true\r\n",
    "images:\r\n  - name: a\r\n    versions:\r\n      - name: 2.0.0\r\n        latest: true\r\n      - name: 1.0.0\r\n" },
  { "tabs before comments stay", "create version a 2.0.0", "images:\n  - name: a\t# tab\n    versions:\t# tab\n      - name: 1.0.0\t# one\n",
    "images:\n  - name: a\t# tab\n    versions:\t# tab\n      - name: 2.0.0\n        latest: true\n      - name: 1.0.0\t# one\n" },
  { "anchors and aliases stay", "create version a 2.0.0", [[
images:
  - name: a
    versions:
      - name: 1.0.0
        latest: true
        os: &oses
          - name: Ubuntu 22.04
  - name: b
    versions:
      - name: 1.0.0
        os: *oses
]], [[
images:
  - name: a
    versions:
      - name: 2.0.0
        latest: true
        os:
          - name: Ubuntu 22.04
            primary: true
      - name: 1.0.0
        os: &oses
          - name: Ubuntu 22.04
  - name: b
    versions:
      - name: 1.0.0
        os: *oses
]] },
  { "latest that is merged in is overridden", "create version a 2.0.0", [[
images:
  - name: a
    versions:
      - &base
        name: 1.0.0
        latest: true
        values: {k: v}
      - <<: *base
        name: 0.9.0
]], [[
images:
  - name: a
    versions:
      - name: 2.0.0
        latest: true
      - &base
        name: 1.0.0
        values: {k: v}
      - <<: *base
        name: 0.9.0
]] },
  { "latest that is merged in from the version that keeps it is overridden", "create version a 1.0.0 --force", [[
images:
  - name: a
    versions:
      - <<: &base {latest: true}
        name: 0.9.0
      - <<: *base
        name: 1.0.0
]], [[
images:
  - name: a
    versions:
      - <<: &base {latest: true}
        name: 0.9.0
        latest: false
      - <<: *base
        name: 1.0.0
]] },
  { "trailing blanks and a missing line end elsewhere stay", "create version a 2.0.0 --no-mark-latest",
    "images:   \n  - name: a\n    versions:\n      - name: 1.0.0   \n  - name: b   ",
    "images:   \n  - name: a\n    versions:\n      - name: 2.0.0\n      - name: 1.0.0   \n  - name: b   \n" },
  { "update renames in place and merges values", "update version a 1.1.0 --value new=x", [[
images:
  - name: a
    versions:
      - name: "1.0.0"   # quoted
        latest: true
        values:
          old: y   # keep
      - name: 0.9.0
]], [[
images:
  - name: a
    versions:
      - name: "1.1.0"   # quoted
        latest: true
        values:
          old: y   # keep
          new: x
      - name: 0.9.0
]] },
  { "update of another one than the latest", "update version a 0.9.1 --target-version 0.9.0", [[
images:
  - name: a
    versions: [{name: 1.0.0, latest: true}, {name: 0.9.0}]
]], [[
images:
  - name: a
    versions: [{name: 1.0.0, latest: true}, {name: 0.9.1}]
]] },
  { "an unquoted number becomes a quoted version", "update version a 2026.10", [[
images:
  - name: a
    versions:
      - name: 2026.09   # edition
        latest: true
]], [[
images:
  - name: a
    versions:
      - name: '2026.10'   # edition
        latest: true
]] },
  { "removing the latest promotes the newest of the others", "remove version a 3.0.0", [[
images:
  - name: a
    versions:
      # three
      - name: 3.0.0
        latest: true
      - name: 9.0.0
      - name: 10.0.0   # ten
        values: {k: v}
]], [[
images:
  - name: a
    versions:
      # three
      - name: 9.0.0
      - name: 10.0.0   # ten
        values: {k: v}
        latest: true
]] },
  { "removing without promotion", "remove version a 3.0.0 --no-promote", [[
images:
  - name: a
    versions:
      - name: 3.0.0
        latest: true
      - name: 1.0.0
]], [[
images:
  - name: a
    versions:
      - name: 1.0.0
]] },
  { "removing one that is not latest changes nothing else", "remove version a 1.0.0", [[
images:
  - name: a
    versions:
      - name: 3.0.0
        latest: true

      # why 1.0.0 was kept
      - name: 1.0.0
  # about b
  - name: b
]], [[
images:
  - name: a
    versions:
      - name: 3.0.0
        latest: true

      # why 1.0.0 was kept
  # about b
  - name: b
]] },
  { "removing the only version", "remove version a 1.0.0", "images:\n  - name: a\n    versions:\n      - name: 1.0.0\n",
    "images:\n  - name: a\n    versions: []\n" },
  { "removing an image", "remove image a", "images:\n  # a\n  - name: a\n    versions:\n      - name: 1.0.0\n\n  # b\n  - name: b\n",
    "images:\n  # a\n\n  # b\n  - name: b\n" },
  { "removing the last image in the file", "remove image b", "images:\n  - name: a\n\n  - name: b\n    description: x\n",
    "images:\n  - name: a\n" },
  { "removing the only image", "remove image a", "images:\n  - name: a\n", "images: []\n" },
  { "appending an image", "create image c --display-name See --documentation-url Example.COM --subpath x/c", [[
images:
  - name: a
    versions: []
  # the end
]], [[
images:
  - name: a
    versions: []
  - name: c
    displayName: See
    documentationUrl: https://example.com/
    subpath: x/c
  # the end
]] },
  { "the first image", "create image c", "images: []\n", "images:\n  - name: c\n" },
  { "images is missing", "create image c", "# nothing\n", "images:\n  - name: c\n# nothing\n" },
  { "a matrix", [[create matrix b --name-pattern g{{Values.g}} --value g=1.2
    --dependency {"dependency":"R","versions":["4.4.3","4.3.3"]}
    --dependency-constraint {"dependency":"python","constraint":{"latest":true}}]], [[
images:
  - name: b
    # no versions here
  - name: a
]], [[
images:
  - name: b
    matrix:
      dependencyConstraints:
        - constraint:
            count: 1
            latest: true
          dependency: python
      dependencies:
        - versions:
            - 4.4.3
            - 4.3.3
          dependency: R
      values:
        g: '1.2'
      namePattern: g{{Values.g}}
    # no versions here
  - name: a
]] },
  { "a matrix replaced by values only keeps its other keys", "create matrix b --force --value g=x", [[
images:
  - name: b
    matrix:
      namePattern: "x{{ Dependencies.R }}"   # pattern
      dependencies:
        - dependency: R
          version: 4.4.3
      os:
        - name: Ubuntu 24.04
]], [[
images:
  - name: b
    matrix:
      namePattern: "x{{ Dependencies.R }}"   # pattern
      os:
        - name: Ubuntu 24.04
      values:
        g: x
]] },
  { "a matrix removed", "remove matrix b", "images:\n  - name: b\n    matrix:\n      values: {g: x}\n    # end\n",
    "images:\n  - name: b\n    # end\n" },
  { "force changes only what is given", "create version a 1.0.0 --force --value k=w", [[
images:
  - name: a
    versions:
      - name: 2.0.0
        latest: true
      - name: 1.0.0   # one
        os: [{name: Scratch}]   # flow
        values: {k: v, l: m}
]], [[
images:
  - name: a
    versions:
      - name: 2.0.0
      - name: 1.0.0   # one
        os: [{name: Scratch}]   # flow
        values: {k: w}
        latest: true
]] },
}

describe("bakery.yaml after", function()
  teardown(world.cleanup)

  for _, row in ipairs(rows) do
    it(row[2]:gsub("%s+", " ") .. ": " .. row[1], function()
      local head = row[3]:find "\r\n" and HEAD:gsub("\n", "\r\n") or HEAD
      local r, dir = run(head .. row[3], words(row[2]))
      assert.equal(0, r.code, r.stderr)
      assert.equal(head .. row[4], fs.read(dir .. "/bakery.yaml"))
      assert.is_false(fs.exists(dir .. "/.bakery-edit"))
    end)
  end
end)
