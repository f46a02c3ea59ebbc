--- Rendering beside python3-jinja2: the same templates, macro files and variables in both, in a new
--- environment (as a command does it) and compiled before; processor time.
---   bakery lua tests/bench/template.lua [seconds]
local fs = require "bakery.fs"
local json = require "bakery.json"
local process = require "bakery.process"
local template = require "bakery.template"

local seconds = tonumber(arg and arg[1]) or 1

local FILES = {}
for _, name in ipairs { "apt.j2", "dnf.j2", "goss.j2", "python.j2", "quarto.j2", "r.j2" } do
  FILES[name] = assert(fs.read("templates/macros/" .. name))
end

local TEMPLATES = json.object {
  { "tag pattern", "{{ Image.Version | upper }}-{{ Image.OS.Codename }}-{{ Image.Variant }}" },
  { "image template", [[
{%- import "apt.j2" as apt -%}
{%- import "python.j2" as python -%}
{%- import "quarto.j2" as quarto -%}
{%- import "r.j2" as r -%}
{{ python.build_stage(Dependencies.python) }}
FROM docker.io/library/ubuntu:22.04
LABEL org.opencontainers.image.title="{{ Image.DisplayName }}"
ARG {{ Image.Name | upper | replace("-", "_") }}_VERSION={{ Image.Version }}
{{ apt.run_setup(codename=Image.OS.Codename) }}
{{ apt.run_install(["curl", "git", "vim"], Path.Version ~ "/deps/packages.txt") }}
{{ r.run_install(Dependencies.R) }}
{{ r.run_install_packages(Dependencies.R, "shiny, plumber", _os=Image.OS) }}
{{ python.copy_from_build_stage() }}
{{ python.run_install_packages(Dependencies.python, "numpy,pandas") }}
{{ quarto.run_install(Dependencies.quarto, with_tinytex=True) }}
{%- if Image.Variant == "Standard" %}
{%- for v in Dependencies.python %}
RUN {{ python.symlink_binary(v, "python", "/usr/local/bin/python" ~ v.split(".")[:2] | join(".")) }}
{%- endfor %}
{%- endif %}
]] },
  { "loops and filters", [[
{% for p in packages if p.wanted %}
{{ loop.index }}. {{ p.name | upper }} {{ p.version | replace(".", "-") }}{{ "," if not loop.last }}
{%- for t in p.tags %} {{ t | trim }}{% endfor %}
{% endfor %}
{{ packages | map(attribute="name") | join(", ") }}
{{ packages | selectattr("wanted") | map(attribute="size") | sum }}
{% for i in range(100) %}{{ i * 3 + 1 }}{{ " " if i % 10 else "\n" }}{% endfor %}]] },
}

local vars = {
  Image = { Name = "work-bench", DisplayName = "Workbench", Version = "2025.05.1+513.pro3",
    Variant = "Standard", OS = { Name = "ubuntu", Version = "22.04", Codename = "jammy" } },
  Path = { Base = ".", Image = "wb", Version = "wb/2025" },
  Dependencies = { R = { "4.5.1", "4.4.3" }, python = { "3.12.11", "3.11.13" }, quarto = { "1.7.1" } },
  packages = {},
}
for i = 1, 20 do
  vars.packages[i] = { name = "pkg" .. i, version = i .. ".2.3", wanted = i % 3 > 0, size = i,
    tags = { "a", " b ", "long" } }
end

local PEER = [[
import json, sys, time, jinja2
job = json.load(sys.stdin)
def fail(message): raise ValueError(message)
def environment():
    env = jinja2.Environment(undefined=jinja2.StrictUndefined, loader=jinja2.DictLoader(job["files"]))
    env.filters["quote"] = lambda s: f'"{s}"'
    env.globals["raise"] = fail
    return env
def measure(work, batch):
    n, start = 0, time.process_time()
    while (took := time.process_time() - start) < job["seconds"]:
        for _ in range(batch): work()
        n += batch
    return took / n * 1e6
out = {}
for name, text in job["templates"].items():
    template = environment().from_string(text)
    out[name] = {
        "text": template.render(job["vars"]),
        "first": measure(lambda: environment().from_string(text).render(job["vars"]), 1),
        "again": measure(lambda: template.render(job["vars"]), 20)}
json.dump(out, sys.stdout)
]]

local function measure(work)
  local n, start = 0, os.clock()
  local took
  repeat
    for _ = 1, 100 do work() end
    n = n + 100
    took = os.clock() - start
  until took >= seconds
  return took / n * 1e6
end

local function environment() return template.new { undefined = "strict", loader = FILES } end

local answer = assert(process.run { cmd = { "python3", "-c", PEER }, timeout = 600,
  stdin = json.encode { templates = TEMPLATES, files = FILES, vars = vars, seconds = seconds } })
if answer.code ~= 0 then
  print("skipped: needs python3-jinja2: " .. (answer.stderr:match "([^\n]*)\n?$" or ""))
  return
end
local peer = assert(json.decode(answer.stdout))
for name, text in json.pairs(TEMPLATES) do
  local tpl = assert(environment():compile(text))
  if tpl:render(vars) ~= peer[name].text then error("rendering differs: " .. name, 0) end
  local function line(what, us, theirs, goal)
    print(("%-40s ours %8.1f us  python3-jinja2 %8.1f us  ratio %6.1fx%s"):format(what .. name, us,
      theirs, theirs / us, goal))
  end
  line("compile and render: ", measure(function() environment():compile(text):render(vars) end),
    peer[name].first, "   (goal >= 15x)")
  line("render again: ", measure(function() tpl:render(vars) end), peer[name].again, "")
end
