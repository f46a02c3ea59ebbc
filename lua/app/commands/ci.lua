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

return M
