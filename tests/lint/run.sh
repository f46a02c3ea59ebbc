#!/bin/sh
# Lint. Every check runs, whatever the others find; the last line says which failed.
# Needs BUILD; the program in it runs the Lua checks (an older one will do when it does not link).
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build/lint}
failed="" checks=0

check() { # NAME COMMAND…
  name=$1
  shift
  checks=$((checks + 1))
  if out=$("$@" 2>&1); then
    echo "ok      $name"
  else
    printf 'FAILED  %s\n' "$name"
    printf '%s\n' "$out" | sed 's/^/        /'
    failed="$failed, $name"
  fi
}

lua_check() { "$BUILD/bakery" lua "tests/lint/$1.lua"; }
have() { # a path that may match nothing
  for f in "$@"; do [ -e "$f" ] && echo "$f"; done
}

check "warnings (gcc -Werror)" "${MAKE:-make}" -s -k BUILD="$BUILD" WERROR=-Werror "$BUILD/bakery"
check "include and require arrows" lua_check arrows
check "sizes of files and lines" lua_check sizes
check "stubs against modules" lua_check stubs
check luacheck luacheck -q --no-color --config tests/lint/luacheckrc lua stdlib/bakery recipes resolvers tests examples
# shellcheck disable=SC2046
check shellcheck shellcheck -S warning $(have examples/*/*.sh tests/*.sh tests/*/*.sh .ci/run)
check "python syntax" python3 -c 'import ast, sys
for name in sys.argv[1:]: ast.parse(open(name).read(), name)' tests/lib/*.py

if [ -n "$failed" ]; then
  echo "lint: failed: ${failed#, }"
  exit 1
fi
echo "lint: clean ($checks checks)"
