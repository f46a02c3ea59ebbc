#!/bin/sh
# run.sh SECONDS [NAME…]: libFuzzer under ASan and UBSan on each driver. Starts from the corpus in
# corpus/NAME; what it learns stays in build/fuzz/NAME, what breaks in build/fuzz/NAME-crash-*.
# The time per input is wide: on a busy machine a process may stand still for seconds.
set -u
cd "$(dirname "$0")/../.." || exit 1
seconds=${1:?usage: run.sh SECONDS [NAME...]}
shift
out=build/fuzz
command -v clang >/dev/null || { echo "fuzz: needs clang" >&2; exit 1; }
mkdir -p $out

# Every core without Lua; clang knows the flags that gcc knows.
flags="-std=c17 -D_GNU_SOURCE -g -O1 -Isrc -Itests -include src/base/banned.h -fno-omit-frame-pointer"
# NULL + 0, which clang counts as an overflow, is what an empty vector's end looks like.
flags="$flags -fsanitize=address,undefined -fno-sanitize=pointer-overflow -fno-sanitize-recover=undefined"
cores=""
for f in src/*/*.c; do
  case $f in src/*/lua_*|src/luakit/*|src/host/*|src/tools/*) ;; *) cores="$cores $f" ;; esac
done
objects=""
for f in $cores; do
  o=$out/obj/$(echo "${f#src/}" | tr / .).o
  objects="$objects $o"
done
mkdir -p $out/obj

echo "fuzz: compiling"
# make compares the times: one rule per core.
{
  for f in $cores; do
    o=$out/obj/$(echo "${f#src/}" | tr / .).o
    printf '%s: %s\n\t@clang $(FLAGS) -DBK_VERSION=\\"fuzz\\" -fsanitize=fuzzer-no-link -MMD -c -o $@ $<\n-include %s\n' "$o" "$f" "${o%.o}.d"
  done
  echo "all: $objects"
} > $out/rules.mk
make -s -j2 -f $out/rules.mk FLAGS="$flags" all || exit 1
rm -f $out/cores.a
# shellcheck disable=SC2086
ar rcs $out/cores.a $objects || exit 1

libs="-lyaml -ljansson -lpcre2-8 -luv -ldeflate -lzstd -lz -lcrypto -lseccomp -lcap -lsqlite3 -lsodium -lm -ldl -lpthread"
failed=""
for src in tests/fuzz/fuzz_*.c; do
  name=$(basename "$src" .c)
  name=${name#fuzz_}
  if [ $# -gt 0 ]; then
    case " $* " in *" $name "*) ;; *) continue ;; esac
  fi
  # shellcheck disable=SC2086
  clang $flags -fsanitize=fuzzer -o "$out/fuzz_$name" "$src" $out/cores.a $libs || { failed="$failed $name"; continue; }
  mkdir -p "$out/$name"
  printf 'fuzz: %-10s ' "$name"
  if "$out/fuzz_$name" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=1024 -print_final_stats=1 \
    -artifact_prefix="$out/$name-" "$out/$name" "tests/fuzz/corpus/$name" > "$out/$name.log" 2>&1; then
    sed -n 's/^stat::number_of_executed_units: */ok, inputs: /p' "$out/$name.log"
  else
    echo "FAILED, see $out/$name.log"
    grep -E 'ERROR|SUMMARY|runtime error' "$out/$name.log" | head -n 3
    failed="$failed $name"
  fi
done
if [ -n "$failed" ]; then
  echo "fuzz: failed:$failed"
  exit 1
fi
echo "fuzz: nothing found"
