#!/bin/sh
# Lint: include arrows, file sizes, luacheck, shellcheck, stubs against registrations.
set -u
bad=0
run() { "$@" || bad=1; }
run "$BUILD/bakery" lua tests/lint/includes.lua
run "$BUILD/bakery" lua tests/lint/stubs.lua
run luacheck -q --config tests/lint/luacheckrc lua stdlib/bakery recipes tests examples
run shellcheck -S warning examples/*/*.sh tests/*.sh tests/*/*.sh .ci/run
[ $bad = 0 ] && echo "lint: clean"
exit $bad
