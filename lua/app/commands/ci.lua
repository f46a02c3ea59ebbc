--- `bakery ci …`: what pipelines ask for.
local json = require "bakery.json"
local fail = require "app.fail"
local github = require "app.ci.github"
local matrix = require "app.ci.matrix"
local session = require "app.session"

local M = {}

-- The rows of this call; images are searched by the positional expression.
local function selected_rows(values)
  values.image_name = values[1] or values.image_name
  if values.plan_file then
    local doc = session.plan_document(values)
    if not doc["x-bakery"] then
      fail.raise { class = "usage", code = "plan.no_data", message = values.plan_file
        .. " is a plain bake file: it does not say which images and versions its targets are" }
    end
    return matrix.document_rows(doc, values.exclude)
  end
  return matrix.rows(session.selections(values), values.exclude)
end

--- Job matrix as JSON on standard output, and into $GITHUB_OUTPUT when asked for.
function M.matrix(values)
  local rows = selected_rows(values)
  if #rows == 0 and values.image_version and not values.allow_empty then
    fail.raise { class = "empty", code = "empty", message = "no version matches "
      .. require("app.plan").describe_filters(values) }
  end
  local shape = values.wrap and matrix.wrap or function(list) return list end
  local out, indexes
  if values.max_jobs then
    out, indexes = json.array {}, json.array {}
    for i, batch in ipairs(matrix.batches(rows, values.max_jobs)) do out[i], indexes[i] = shape(batch), i - 1 end
  else
    out = shape(rows)
  end
  local text = json.encode(out)
  if values.github_output then
    fail.check(github.output(values.github_output, text))
    fail.check(github.output(values.github_output .. "-count", tostring(#rows)))
    if indexes then fail.check(github.output(values.github_output .. "-batches", json.encode(indexes))) end
  end
  io.stdout:write(text, "\n")
  return 0
end

-- READMEs of the project; raises one error that names every one which Docker Hub would refuse.
local function checked_readmes(values)
  local readme = require "app.ci.readme"
  local project = session.project(values)
  local name = values.image_name and fail.check(require("bakery.regex").compile(values.image_name))
  local list, warnings, err = readme.collect(project, { dev_versions = values.dev_versions,
    matrix_versions = values.matrix_versions, image_name = name })
  session.warn(values, warnings)
  list = fail.check(list, err)
  local errors = {}
  for _, item in ipairs(list) do
    local problem = readme.problem(item, values.short_description)
    if problem then
      errors[#errors + 1] = { class = "build", code = "readme.too_long", where = item.file, message = problem }
    end
  end
  if #errors > 0 then
    error({ class = "build", code = errors[1].code, message = errors[1].message, errors = errors }, 0)
  end
  return list
end

local function say(values, text)
  if not values.quiet then io.stderr:write(text, "\n") end
end

local function count(n, word) return ("%d %s%s"):format(n, word, n == 1 and "" or "s") end

local function repositories_of(list)
  local out = {}
  for _, item in ipairs(list) do
    for _, r in ipairs(item.repositories) do out[#out + 1] = { item = item, namespace = r.namespace, name = r.name, id = r.id } end
  end
  return out
end

local function push_readmes(values, list, login)
  local retry = require "app.retry"
  local hub = require("app.ci.hub").open { username = login.username, password = login.password,
    policy = retry.policy(nil, function(text) session.warn(values, { text }) end),
    on_retry = function(err, _, seconds)
      session.warn(values, { ("%s; trying again in %gs"):format(tostring(err.message), seconds) })
    end }
  local errors, done = {}, 0
  for _, r in ipairs(list) do
    local ok, err = hub:describe(r.namespace, r.name, r.item.text, values.short_description and r.item.short or nil)
    if ok then
      done = done + 1
      say(values, ("docker.io/%s: %s"):format(r.id, r.item.file))
    else
      err.message = ("docker.io/%s: %s"):format(r.id, err.message)
      errors[#errors + 1] = err
    end
  end
  if #errors > 0 then
    local worst = errors[1]
    for _, e in ipairs(errors) do if e.class ~= "infra" then worst = e end end
    error({ class = worst.class == "infra" and "infra" or "build", code = worst.code, message = worst.message,
      errors = errors }, 0)
  end
  say(values, count(done, "README") .. " pushed")
end

--- READMEs of images to Docker Hub, or only their check.
function M.readme(values)
  local list = checked_readmes(values)
  if values.check then
    say(values, ("%s, none above %d bytes"):format(count(#list, "README"), require("app.ci.readme").LIMIT))
    return 0
  end
  local targets = repositories_of(list)
  if values.dry_run then
    for _, r in ipairs(targets) do say(values, ("would push %s to docker.io/%s"):format(r.item.file, r.id)) end
    return 0
  end
  if #targets == 0 then
    say(values, "No READMEs pushed: no image on docker.io has one")
    return 0
  end
  local login = { username = os.getenv "DOCKER_HUB_README_USERNAME", password = os.getenv "DOCKER_HUB_README_PASSWORD" }
  for _, key in ipairs { "username", "password" } do
    if not login[key] or login[key] == "" then
      session.warn(values, { "No READMEs pushed: DOCKER_HUB_README_" .. key:upper() .. " is not set" })
      return 0
    end
  end
  push_readmes(values, targets, login)
  return 0
end

-- Writes text to a file, a device, or standard output ("-").
local function write_report(path, text)
  if path == "-" then
    io.stdout:write(text)
    return
  end
  local fs = require "bakery.fs"
  if fs.is_file(path) or not fs.exists(path) then
    fail.check(fs.write(path, text))
    return
  end
  local file, message = io.open(path, "w")
  if not file then fail.raise { class = "infra", code = "write", where = path, message = message } end
  file:write(text)
  file:close()
end

--- Summaries of several jobs as one Markdown report.
function M.summary(values)
  local fs, summary = require "bakery.fs", require "app.summary"
  if not values.output and not values.json then
    fail.raise { class = "usage", code = "usage", message = "bakery ci summary: --output FILE is missing" }
  end
  local lists = {}
  for _, path in ipairs(require("app.ci.glob").expand(values)) do
    local text, err = fs.read(path, 64 << 20)
    local list, reason
    if text then list, reason = summary.read(text, path) end
    if list then
      lists[#lists + 1] = list
    else
      session.warn(values, { { where = path, message = "left out: " .. tostring(reason or err.message) } })
    end
  end
  local targets = require("app.summary.merge").merge(lists)
  if values.output then write_report(values.output, require("app.summary.tables").markdown(targets, values.disclaimer)) end
  if values.json then session.print_json(summary.document(targets)) end
  return 0
end

return M
