---@meta bakery.version

--- Version texts: PEP 440, release names of images, semantic versions. Texts of more than 1024 bytes
--- are refused. Numbers of more than 18 digits appear as strings of digits.
local version = {}

---A PEP 440 version; compares with <, <=, ==; tostring gives the text as written.
---@class bakery.version.pep440
---@field text string
---@field epoch integer
---@field release integer[]
---@field major integer
---@field minor integer        0 when not written
---@field patch integer        0 when not written
---@field pre {[1]: "a"|"b"|"rc", [2]: integer}|nil
---@field post integer|nil
---@field dev integer|nil
---@field local string|nil     as written, without the "+" (write v["local"])
---@field is_prerelease boolean a pre or dev part is there
---@field has_minor fun(self): boolean more than one dotted piece in the text
---@field has_patch fun(self): boolean more than two

---A release name; compares with <, <=, ==. Dependency forms are equal to each other and below all.
---@class bakery.version.release
---@field text string
---@field kind "release"|"dependencies"
---@field release integer[]|nil
---@field prerelease string|nil
---@field build string|nil
---@field dependencies {name: string, release: integer[]}[]|nil

---A semantic version; compares with <, <=, ==, the build part does not count.
---@class bakery.version.semver
---@field text string
---@field major integer
---@field minor integer
---@field patch integer
---@field parts integer        how many of the three numbers were written
---@field prerelease string|nil
---@field build string|nil

---Parses PEP 440; one leading "v" and surrounding blanks are ignored.
---@param text string
---@return bakery.version.pep440|nil version
---@return table? err code "version.syntax"
function version.pep440(text) end

---Parses a release name: N.N[.N…][-prerelease][+build] or dependency pairs such as R4.4.1-python3.12.
---@param text string
---@return bakery.version.release|nil release
---@return table? err code "version.syntax"
function version.release(text) end

---Parses a semantic version; a leading "v" and missing minor or patch are allowed.
---@param text string
---@return bakery.version.semver|nil version
---@return table? err code "version.syntax"
function version.semver(text) end

---Compares two texts: -1, 0 or 1. With kind "release" an unparseable name is below all others.
---@param a string
---@param b string
---@param kind? "pep440"|"release"|"semver" default "pep440"
---@return integer|nil order
---@return table? err code "version.syntax"
function version.compare(a, b, kind) end

---A sorted copy of a list; stable. An unparseable text is an error except for kind "release".
---@param list string[]
---@param kind? "pep440"|"release"|"semver" default "pep440"
---@param descending? boolean
---@return string[]|nil sorted
---@return table? err code "version.syntax"
function version.sort(list, kind, descending) end

---Is a <= b in PEP 440 order? Raises for an unparseable text.
---@param a string|bakery.version.pep440
---@param b string|bakery.version.pep440
---@return boolean
function version.le(a, b) end

---Does a selection filter choose a version name?
---@param name string
---@param filter string
---@return boolean
function version.matches_filter(name, filter) end

---Is a text a semantic version inside a range? Ranges: comparators (= != > >= < <= ^ ~) joined by
---blanks or commas, "1.x", "A - B", alternatives by "||".
---@param text string
---@param range string
---@return boolean|nil inside false for a text that is no semantic version
---@return table? err code "version.range"
function version.satisfies(text, range) end

---Versions that a dependency constraint keeps, newest first, one per minor version.
---`latest` alone keeps one; `max` with one or two numbers keeps that whole series.
---@param constraint {latest?: boolean, count?: integer, max?: string|number, min?: string|number}
---@param versions string[] PEP 440
---@return string[]|nil kept
---@return table? err "version.syntax" or, when nothing is left, "version.none"
function version.resolve(constraint, versions) end

---The texts that are PEP 440 versions, newest first (stable); what is none is left out. `max` and `min`
---mean what they mean for version.resolve.
---@param list string[]
---@param opts? {max?: string|number, min?: string|number, prerelease?: boolean} prerelease: keep those
---with a pre or dev part too
---@return string[]|nil kept may be empty
---@return table? err "version.syntax" for a bound
function version.select(list, opts) end

---Edition and display version of a release: "2026.03.1+5" gives "2026.03", "2026.03.1".
---@param text string
---@return string edition
---@return string display
function version.edition(text) end

return version
