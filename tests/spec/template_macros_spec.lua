-- The shipped macro files give exactly the text that image templates rely on.
local template = require "bakery.template"

local function read(name)
  local file = io.open("templates/macros/" .. name, "rb")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end

local env = template.new { undefined = "strict", keep_trailing_newline = true, loader = read }

local function call(module, expression, vars)
  return env:render(('{%% import "%s.j2" as m %%}{{ m.%s }}'):format(module, expression), vars)
end

local CLEAN = "apt-get clean -yqq && \\\nrm -rf /var/lib/apt/lists/*"
local UPDATE = "apt-get update -yqq && \\\n"
local INSTALL = "apt-get install -yqq --no-install-recommends"
local RETRIES = [[echo 'Acquire::Retries "3"; Acquire::http::Timeout "30"; ]] ..
  [[Acquire::https::Timeout "30";' > /etc/apt/apt.conf.d/99-retries]]
local UPGRADE = "apt-get update -yqq --fix-missing && \\\napt-get upgrade -yqq && \\\n" ..
  "apt-get dist-upgrade -yqq && \\\napt-get autoremove -yqq --purge"
local LOCALE = INSTALL .. " locales && \\\nlocaledef -i en_US -f UTF-8 en_US.UTF-8"
local ENV_LOCALE = "ENV LANG=en_US.UTF-8\nENV LANGUAGE=en_US:en\nENV LC_ALL=en_US.UTF-8"
local BASICS = INSTALL .. " \\\n    curl \\\n    ca-certificates \\\n    gnupg \\\n    tar"

local function deb(repo)
  return ([[bash -c "$(curl -1fsSL 'https://dl.posit.co/public/%s/setup.deb.sh')"]]):format(repo)
end
local function rpm(repo)
  return ([[bash -c "$(curl -1fsSL 'https://dl.posit.co/public/%s/setup.rpm.sh')"]]):format(repo)
end

-- The text as the argument of RUN: continuation lines are indented, empty ones stay empty.
local function run(text)
  local body = text:gsub("\n([^\n])", "\n    %1")
  return "RUN " .. body
end

local function join(...) return table.concat({ ... }, " && \\\n") end

local APT_SETUP = join(RETRIES, UPGRADE, BASICS, LOCALE, deb "pro", CLEAN)

local apt = {
  { 'setup_posit_repo("pro")', deb "pro" },
  { 'setup_posit_repo("open", "jammy")', "codename=jammy " .. deb "open" },
  { 'setup_posit_repo(repo="open", codename="noble")', "codename=noble " .. deb "open" },
  { 'run_setup_posit_repo("pro")', "RUN " .. deb "pro" },
  { 'run_setup_posit_repo("pro", codename="jammy")', "RUN codename=jammy " .. deb "pro" },
  { "clean_command()", CLEAN },
  { "configure_retries()", RETRIES },
  { "configure_retries(5, 60)", (RETRIES:gsub('"3"', '"5"'):gsub('"30"', '"60"')) },
  { "configure_locale()", LOCALE },
  { 'configure_locale("de_DE.ISO-8859-1")',
    INSTALL .. " locales && \\\nlocaledef -i de_DE -f ISO-8859-1 de_DE.ISO-8859-1" },
  { "locale_env()", ENV_LOCALE },
  { 'locale_env("de_DE.UTF-8")', "ENV LANG=de_DE.UTF-8\nENV LANGUAGE=de_DE:de\n" ..
    "ENV LC_ALL=de_DE.UTF-8" },
  { "update_upgrade()", join(UPGRADE, CLEAN) },
  { "update_upgrade(clean=False)", UPGRADE },
  { "run_update_upgrade()", run(join(UPGRADE, CLEAN)) },
  { 'install_packages_from_list(["a", "b"])',
    join(UPDATE .. INSTALL .. " \\\n    a \\\n    b", CLEAN) },
  { 'install_packages_from_list("a, b ,c")',
    join(UPDATE .. INSTALL .. " \\\n    a \\\n    b \\\n    c", CLEAN) },
  { 'install_packages_from_list("a", update=False)', join(INSTALL .. " \\\n    a", CLEAN) },
  { 'install_packages_from_list("a", clean=False)', UPDATE .. INSTALL .. " \\\n    a" },
  { 'install_packages_from_list(["a"], False, False)', INSTALL .. " \\\n    a" },
  { 'install_packages_from_file("f.txt")', join(UPDATE .. "xargs -a f.txt " .. INSTALL, CLEAN) },
  { 'install_packages_from_file(" f ", update=False, clean=False)', "xargs -a f " .. INSTALL },
  { 'install("a,b")', join(UPDATE .. INSTALL .. " \\\n    a \\\n    b", CLEAN) },
  { 'install(files="f,g")',
    join(UPDATE .. "xargs -a f " .. INSTALL, "xargs -a g " .. INSTALL, CLEAN) },
  { 'install(["a"], ["f"])',
    join(UPDATE .. INSTALL .. " \\\n    a", "xargs -a f " .. INSTALL, CLEAN) },
  { 'install("a", "f", update=False)',
    join(INSTALL .. " \\\n    a", "xargs -a f " .. INSTALL, CLEAN) },
  { 'install("a", clean=False)', UPDATE .. INSTALL .. " \\\n    a\n" },
  { 'install(files="f", update=False, clean=False)', "xargs -a f " .. INSTALL .. "\n" },
  { 'run_install("a,b", "f")', "RUN apt-get update -yqq && \\\n    " .. INSTALL ..
    " \\\n        a \\\n        b && \\\n    xargs -a f " .. INSTALL ..
    " && \\\n    apt-get clean -yqq && \\\n    rm -rf /var/lib/apt/lists/*" },
  { 'run_install(files=["f"])', run(join(UPDATE .. "xargs -a f " .. INSTALL, CLEAN)) },
  { "setup()", APT_SETUP },
  { "setup(clean=False)", join(RETRIES, UPGRADE, BASICS, LOCALE, deb "pro") },
  { 'setup(codename="jammy", open_repo=True)', join(RETRIES, UPGRADE, BASICS, LOCALE,
    "codename=jammy " .. deb "pro", "codename=jammy " .. deb "open", CLEAN) },
  { "setup(pro_repo=False, locale=None)", join(RETRIES, UPGRADE, BASICS, CLEAN) },
  { "run_setup()", run(APT_SETUP) .. "\n" .. ENV_LOCALE },
  { 'run_setup(pro_repo=False, open_repo=True, locale="")',
    run(join(RETRIES, UPGRADE, BASICS, deb "open", CLEAN)) },
}

local DNF = "dnf install -yq"
local DNF_CLEAN = "dnf clean all -yq"
local DNF_SETUP = join("dnf upgrade -yq", DNF .. " --allowerasing \\\n    curl \\\n" ..
  "    ca-certificates \\\n    findutils \\\n    gnupg \\\n    tar")

local dnf = {
  { "clean_command()", DNF_CLEAN },
  { 'setup_posit_repo("open")', rpm "open" },
  { 'run_setup_posit_repo("pro")', "RUN " .. rpm "pro" },
  { "update_upgrade()", join("dnf upgrade -yq", DNF_CLEAN) },
  { "update_upgrade(False)", "dnf upgrade -yq" },
  { "run_update_upgrade()", run(join("dnf upgrade -yq", DNF_CLEAN)) },
  { 'install_packages_from_list("a,b")', join(DNF .. " \\\n    a \\\n    b", DNF_CLEAN) },
  { 'install_packages_from_list(["a"], clean=False)', DNF .. " \\\n    a" },
  { "install_packages_from_list([], clean=False)", DNF .. " \\" },
  { "install_packages_from_list([])", DNF .. " \\\n" .. DNF_CLEAN },
  { 'install_packages_from_file("f")', join("xargs -a f " .. DNF, DNF_CLEAN) },
  { 'install_packages_from_file("f", False)', "xargs -a f " .. DNF },
  { 'install("a", "f,g")',
    join(DNF .. " \\\n    a", "xargs -a f " .. DNF, "xargs -a g " .. DNF, DNF_CLEAN) },
  { 'install(packages=["a", "b"], clean=False)', DNF .. " \\\n    a \\\n    b\n" },
  { 'run_install("a", "f")', run(join(DNF .. " \\\n    a", "xargs -a f " .. DNF, DNF_CLEAN)) },
  { "setup()", join(DNF_SETUP, rpm "pro", DNF_CLEAN) },
  { "setup(clean=False, pro_repo=False)", DNF_SETUP },
  { "setup(open_repo=True)", join(DNF_SETUP, rpm "pro", rpm "open", DNF_CLEAN) },
  { "run_setup(pro_repo=False, open_repo=True)", run(join(DNF_SETUP, rpm "open", DNF_CLEAN)) },
}

local goss = { { 'build_arg_env_var("PYTHON_VERSION")', "{{ .Env.BUILD_ARG_PYTHON_VERSION }}" } }

local STAGE = [[
FROM ghcr.io/astral-sh/uv:debian-slim AS python-builder

ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy
ENV UV_PYTHON_INSTALL_DIR=/opt/python
ENV UV_PYTHON_PREFERENCE=only-managed
]]
local STAGE_RUNS = [[
RUN uv python install 3.11 3.12
RUN mv /opt/python/cpython-3.11-linux-*/ /opt/python/3.11 && \
    mv /opt/python/cpython-3.12-linux-*/ /opt/python/3.12
]]
local PIP = "/opt/python/3.12/bin/pip install --no-cache-dir --upgrade"
local PIP_BREAK = PIP .. " --break-system-packages"
local JUPYTER = [[
/opt/python/3.12/bin/python -m venv /opt/python/jupyter && \
/opt/python/jupyter/bin/pip install --no-cache-dir --upgrade pip setuptools wheel && \
/opt/python/jupyter/bin/pip install --no-cache-dir --upgrade \
    "jupyterlab" \
    notebook \
    "pwb_jupyterlab" && \
rm -rf /opt/python/jupyter/lib/python*/site-packages/jupyterlab/tests && \
rm -rf /opt/python/jupyter/lib/python*/site-packages/jupyterlab/galata && \
rm -f /opt/python/jupyter/lib/python*/site-packages/jupyterlab/staging/yarn.lock && \
ln -s /opt/python/jupyter/bin/jupyter /usr/local/bin/jupyter]]

local python = {
  { "declare_build_arg()", "ARG PYTHON_VERSION" },
  { 'declare_build_arg(default="3.12")', "ARG PYTHON_VERSION=3.12" },
  { 'declare_build_arg("X", "1")', "ARG X=1" },
  { "build_arg()", "$PYTHON_VERSION" },
  { 'build_arg("X")', "$X" },
  { 'run_uv_python_install(["3.11", "3.12"])', "RUN uv python install 3.11 3.12" },
  { 'run_uv_python_install("3.11, 3.12")', "RUN uv python install 3.11 3.12" },
  { 'run_uv_python_install("$PYTHON_VERSION")', "RUN uv python install $PYTHON_VERSION" },
  { 'run_normalize_uv_python_paths(["3.11", "3.12"])', (STAGE_RUNS:gsub("^[^\n]*\n", "")
    :gsub("\n    ", "\n")) },
  { 'build_stage(["3.11", "3.12"])', STAGE .. STAGE_RUNS },
  { 'build_stage(["3.11", "3.12"], prerun="\n RUN x\nRUN y \n")',
    STAGE .. "\nRUN x\nRUN y\n" .. STAGE_RUNS },
  { 'build_stage("$V")', STAGE .. "RUN uv python install $V\n" ..
    "RUN mv /opt/python/cpython-$V-linux-*/ /opt/python/$V\n" },
  { 'get_version_directory(" 3.12")', "/opt/python/ 3.12" },
  { "copy_from_build_stage()", "COPY --from=python-builder /opt/python /opt/python" },
  { 'pip_install_command("3.12")', PIP_BREAK },
  { 'pip_install_command("3.12", break_system_packages=False)', PIP },
  { 'install_packages("3.12", "a, b")', PIP_BREAK .. " \\\n    a \\\n    b" },
  { 'install_packages("3.12", ["a"], ["r.txt", "s.txt"])', PIP_BREAK ..
    " \\\n    a \\\n    -r r.txt \\\n    -r s.txt && \\\nrm -f r.txt s.txt" },
  { 'install_packages("3.12", requirements_files="r.txt", clean=False)',
    PIP_BREAK .. " \\\n    -r r.txt" },
  { 'install_packages("3.12", "a", break_system_packages=False)', PIP .. " \\\n    a" },
  { 'install_packages("3.12")', PIP_BREAK .. " \\" },
  { 'run_install_packages(["3.12"], "a", "r")', run(PIP_BREAK ..
    " \\\n    a \\\n    -r r && \\\nrm -f r") },
  { 'run_install_packages("3.12,3.12", "a")',
    run(PIP_BREAK .. " \\\n    a") .. "\n" .. run(PIP_BREAK .. " \\\n    a") },
  { 'symlink_version("3.12", "/opt/python/default")',
    "ln -s /opt/python/3.12 /opt/python/default" },
  { 'symlink_binary("3.12", "python", "/usr/bin/python")',
    "ln -s /opt/python/3.12/bin/python /usr/bin/python" },
  { 'install_jupyterlab_workbench("3.12")', JUPYTER },
  { 'install_jupyterlab_workbench(["3.12", "3.11"])', JUPYTER },
  { 'install_jupyterlab_workbench("3.12", "jlab", "<5", "==1", ["x", " y "], False, False)', [[
/opt/python/3.12/bin/python -m venv /opt/python/jlab && \
/opt/python/jlab/bin/pip install --no-cache-dir --upgrade pip setuptools wheel && \
/opt/python/jlab/bin/pip install --no-cache-dir --upgrade \
    "jupyterlab<5" \
    notebook \
    "pwb_jupyterlab==1" \
    x \
    y && \
ln -s /opt/python/jlab/bin/jupyter /usr/local/bin/jupyter]] },
  { 'run_install_jupyterlab_workbench("3.12")', run(JUPYTER) },
  { 'run_install_jupyterlab_workbench("3.12", strip_tests=False)',
    run((JUPYTER:gsub("rm %-rf[^\n]*\n", ""))) },
}

local TINYTEX = [[GH_TOKEN="$([ -s /run/secrets/github_token ] && cat /run/secrets/github_token)" ]]
local function debian(version, extra, tex, codename)
  return join((codename or "") .. deb "open", INSTALL .. " \\\n    quarto=" .. version ..
    (extra and " \\\n    xz-utils" or ""), "apt-mark hold quarto", CLEAN) .. (tex or "")
end
local function rhel(version, extra, tex)
  return join(rpm "open", DNF .. " \\\n    quarto-" .. version ..
    " \\\n    'dnf-command(versionlock)'" .. (extra and " \\\n    xz" or ""),
    "dnf versionlock add quarto", DNF_CLEAN) .. (tex or "")
end
local TEX = " && \\\n" .. TINYTEX .. "CI=true /opt/quarto/bin/quarto install tinytex --no-prompt"
local MOUNT = "--mount=type=secret,id=github_token,required=false"

local quarto = {
  { "declare_build_arg()", "ARG QUARTO_VERSION" },
  { "build_arg()", "$QUARTO_VERSION" },
  { "get_directory()", "/opt/quarto" },
  { 'get_version_directory("1.5")', "/opt/quarto" },
  { "github_token_secret_mount()", MOUNT },
  { 'install_tinytex_command("q")', TINYTEX .. "CI=true q install tinytex --no-prompt" },
  { 'install_tinytex_command("q", update_path=True, home_path="/opt")',
    TINYTEX .. 'HOME="/opt" CI=true q install tinytex --no-prompt --update-path' },
  { 'install(" 1.5.1 ")', debian("1.5.1") },
  { 'install("1.5.1", codename="jammy")', debian("1.5.1", false, nil, "codename=jammy ") },
  { 'install("1.5.1", with_tinytex=True)', debian("1.5.1", true, TEX) },
  { 'install("1.5.1", True, True)', debian("1.5.1", true, TEX .. " --update-path") },
  { 'install("1.5.1", os_family="rhel")', rhel("1.5.1") },
  { 'install("1.5.1", True, os_family="rhel")', rhel("1.5.1", true, TEX) },
  { 'run_install("1.5.1")', run(debian("1.5.1")) },
  { 'run_install(["1.5.1"], with_tinytex=True)',
    (run(debian("1.5.1", true, TEX)):gsub("^RUN ", "RUN " .. MOUNT:gsub("%%", "%%%%") .. " ")) },
  { 'symlink_version("1", "/t")', "ln -s /opt/quarto /t" },
  { 'symlink_binary("1", "quarto", "/t")', "ln -s /opt/quarto/bin/quarto /t" },
}

local R_INSTALL = [[RUN_UNATTENDED=1 R_VERSION=4.4.1 bash -c ]] ..
  [["$(curl -fsSL https://rstd.io/r-install)" && \]] .. "\n" ..
  [[find . -type f -name '[rR]-4.4.1.*\.(deb|rpm)' -delete]]
local R_RUN = "/opt/R/4.4.1/bin/R --vanilla -e '"
local function from_list(list, url)
  return R_RUN .. ('install.packages(c(%s), repos="%s", clean = TRUE)\''):format(list,
    url or "https://p3m.dev/cran/latest")
end
local function from_file(file, url)
  return R_RUN .. ('install.packages(readLines("%s"), repos="%s", clean = TRUE)\''):format(file,
    url or "https://p3m.dev/cran/latest")
end
local JAMMY = "https://p3m.dev/cran/__linux__/jammy/latest"

local r = {
  { "declare_build_arg()", "ARG R_VERSION" },
  { "build_arg()", "$R_VERSION" },
  { 'get_version_directory(" 4.4.1 ")', "/opt/R/4.4.1" },
  { 'install(" 4.4.1")', R_INSTALL },
  { 'run_install("4.4.1")', run(R_INSTALL) },
  { 'run_install(["4.4.1", "4.4.1"])', run(R_INSTALL) .. "\n" .. run(R_INSTALL) },
  { "get_p3m_cran_repo(None)", "https://p3m.dev/cran/latest" },
  { "get_p3m_cran_repo(ubuntu)", JAMMY },
  { "get_p3m_cran_repo(rocky)", "https://p3m.dev/cran/__linux__/rhel9/latest" },
  { "get_p3m_cran_repo(other)", "https://p3m.dev/cran/latest" },
  { [[r_expression("4.4.1", " cat('x') ")]], R_RUN .. "cat('x')'" },
  { 'install_packages_from_list("4.4.1", "a, b")', from_list '"a", "b"' },
  { 'install_packages_from_list("4.4.1", ["a"], ubuntu)', from_list('"a"', JAMMY) },
  { 'install_packages_from_file("4.4.1", "p.txt", _os=ubuntu)', from_file("p.txt", JAMMY) },
  { 'install_packages("4.4.1", "a")', from_list '"a"' .. "\n" },
  { 'install_packages("4.4.1", ["a", "b"], "f,g")', join(from_list '"a", "b"', from_file "f",
    from_file "g", "rm -f f g") },
  { 'install_packages("4.4.1", package_list_files=["f"], _os=ubuntu)',
    join(from_file("f", JAMMY), "rm -f f") },
  { 'install_packages("4.4.1", package_list_files="f", clean=False)', from_file "f" },
  { 'install_packages("4.4.1", "a", "f", clean=False)', join(from_list '"a"', from_file "f") },
  { 'install_packages("4.4.1")', "" },
  { 'run_install_packages("4.4.1", "a")', "RUN " .. from_list '"a"' .. "\n" },
  { 'run_install_packages(["4.4.1", "4.4.1"], "a")',
    "RUN " .. from_list '"a"' .. "\n\nRUN " .. from_list '"a"' .. "\n" },
  { 'run_install_packages("4.4.1", "a", "f")',
    run(join(from_list '"a"', from_file "f", "rm -f f")) },
  { 'symlink_version("4.4.1", "/opt/R/default")', "ln -s /opt/R/4.4.1 /opt/R/default" },
  { 'symlink_binary("4.4.1", "R", "/usr/bin/R")', "ln -s /opt/R/4.4.1/bin/R /usr/bin/R" },
}

local errors = {
  { "apt", 'setup_posit_repo("x")', "template.raise", "'x'" },
  { "apt", "install_packages_from_list([])", "template.raise", "packages" },
  { "apt", 'install_packages_from_list("")', "template.raise", "packages" },
  { "apt", "install()", "template.raise", "packages or files" },
  { "apt", 'configure_locale("C")', "template.runtime", "unpack" },
  { "dnf", 'setup_posit_repo("x")', "template.raise", "'x'" },
  { "dnf", "install()", "template.raise", "packages or files" },
  { "quarto", 'install("1", os_family="arch")', "template.raise", "'arch'" },
  { "quarto", 'run_install(["1", "2"])', "template.raise", "only one" },
  { "r", "get_p3m_cran_repo()", "template.undefined", "_os" },
}

local vars = {
  ubuntu = { Name = "ubuntu", Codename = "jammy", Version = "22.04" },
  rocky = { Name = "rocky", Codename = template.none, Version = "9" },
  other = { Name = "unknown", Codename = template.none, Version = "" },
}

describe("macro files", function()
  for module, cases in pairs { apt = apt, dnf = dnf, goss = goss, python = python,
    quarto = quarto, r = r } do
    for _, case in ipairs(cases) do
      it(module .. "." .. case[1]:gsub("\n", "\\n"), function()
        assert.are.equal(case[2], assert(call(module, case[1], vars)))
      end)
    end
    it(module .. ".j2 prints nothing by itself", function()
      assert.are.equal("", env:render(('{%% import "%s.j2" as m %%}{{ m }}'):format(module)))
    end)
  end
  for _, case in ipairs(errors) do
    it(case[1] .. "." .. case[2] .. " fails", function()
      local text, err = call(case[1], case[2], vars)
      assert.is_nil(text)
      assert.are.equal(case[3], err.code)
      assert.truthy(err.message:find(case[4], 1, true), err.message)
    end)
  end
end)
