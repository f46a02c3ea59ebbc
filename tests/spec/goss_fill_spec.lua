--- Go templates of goss files; results as Go's text/template gives them.
local fill = require "bakery.goss.fill"

local DATA = { Env = { A = "x", V = "Standard" }, Vars = { list = { "a", "b" }, sub = { name = "n" } } }

local GOOD = {
  { "a {{ .Env.A }} b", "a x b" },
  { "no template", "no template" },
  { '{{ if eq .Env.V "Standard" }}S{{ else }}N{{ end }}', "S" },
  { '{{if eq .Env.V "M"}}M{{else if eq .Env.V "Q" "Standard"}}S{{else}}N{{end}}|', "S|" },
  { '{{if false}}1{{else if false}}2{{else if true}}3{{else}}4{{end}}{{if false}}5{{end}}6', "36" },
  { '{{if true}}{{if false}}1{{else}}2{{end}}{{else}}3{{end}}', "2" },
  { "a\n{{- /* a }} comment */ -}}\n b", "ab" },
  { "a \n {{- .Env.A -}} \n b", "axb" },
  { "{{ -3 }}{{- 3}}", "-33" },
  { "{{ range .Vars.list }}[{{ . }}]{{ end }}", "[a][b]" },
  { "{{ range $x := .Vars.list }}{{ $x }}{{ $.Env.A }}{{ else }}none{{ end }}", "axbx" },
  { "{{ with .Vars.sub }}{{ .name }}{{ end }}{{ .Vars.sub.name }}", "nn" },
  { "{{ $v := .Env.A | upper }}{{ $v }}", "X" },
  { '{{ getEnv "Q" "d" }}{{ getEnv "A" "d" }}{{ env "Q" }}', "dx" },
  { '{{ if and (eq .Env.A "x") (not (eq .Env.V "M")) }}yes{{ end }}', "yes" },
  { "{{ if or false .Env.A }}yes{{ end }}", "yes" },
  { [[{{ "a\"b" }}{{ `raw\` }}]], [[a"braw\]] },
  { '{{ printf "%s-%d-%q" .Env.A 3 "y" }}', 'x-3-"y"' },
  { '{{ "a-b" | replace "-" "." | quote }}', '"a.b"' },
  { '{{ if has .Env.V (list "Standard" "M") }}in{{ end }}', "in" },
  { '{{ ternary "t" "f" (hasPrefix "St" .Env.V) }}{{ join "," (splitList "/" "p/q") }}', "tp,q" },
  { '{{ if regexMatch "^St.*d$" .Env.V }}re{{ end }}{{ default "z" "" }}{{ len .Vars.list }}', "rez2" },
}

local BAD = {
  { "\n {{ .Env.Q }}", "g:2:9: the environment has no 'Q'" },
  { "{{ .Nope }}", "g:1:4: there is no 'Nope'" },
  { "{{ if }}{{ end }}", "g:1:1: expected a value" },
  { "{{ if .Env.A }}x", "g:1:1: 'if' without 'end'" },
  { "{{ end }}", "g:1:1: 'end' without 'if', 'with' or 'range'" },
  { "{{ if true }}{{ else }}{{ else }}{{ end }}", "g:1:24: a second 'else'" },
  { "{{ foo }}", "g:1:4: unknown function 'foo'" },
  { "{{ .Env.A", "g:1:1: '{{' without '}}'" },
  { "{{}}", "g:1:1: '{{ }}' without a value" },
  { '{{ "x }}', "g:1:4: this string has no end" },
  { "{{ len 3 }}", "g:1:4: 'len': wrong arguments" },
  { "{{ $x }}", "g:1:4: undefined variable '$x'" },
  { "{{ (1 }}", "g:1:4: '(' without ')'" },
  { "{{ 1 | }}", "g:1:1: expected a value" },
  { '{{ template "x" }}', "g:1:1: 'template' is not supported in goss files" },
  { "{{ & }}", "g:1:4: '&' has no meaning here" },
}

describe("goss.fill", function()
  for _, case in ipairs(GOOD) do
    it("fills " .. case[1]:gsub("\n", "\\n"), function()
      assert.equal(case[2], assert(fill.fill(case[1], DATA, "g")))
    end)
  end
  for _, case in ipairs(BAD) do
    it("refuses " .. case[1]:gsub("\n", "\\n"), function()
      local text, err = fill.fill(case[1], DATA, "g")
      assert.is_nil(text)
      assert.equal(case[2], err.where .. ": " .. err.message)
      assert.equal("usage", err.class)
    end)
  end
end)
