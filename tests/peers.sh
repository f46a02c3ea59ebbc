#!/bin/sh
# peers.sh DIR: programs that Debian lacks, into DIR/bin, in fixed versions. They only judge our output:
# what cannot be had (no go, no network, a Go that is too old) is reported and left out.
set -u
dir=${1:?usage: peers.sh DIR}
mkdir -p "$dir/bin" || exit 1
bin=$(cd "$dir/bin" && pwd)

if ! command -v go >/dev/null; then
  echo "peers: needs go"
  exit 0
fi

# NAME PACKAGE VERSION; a stamp file says which version is there.
install() {
  if [ -x "$bin/$1" ] && [ "$(cat "$bin/.$1" 2>/dev/null)" = "$3" ]; then
    printf 'have     %-8s %s\n' "$1" "$3"
  elif out=$(GOBIN=$bin GOFLAGS=-trimpath GOTOOLCHAIN=local CGO_ENABLED=0 go install "$2@$3" 2>&1); then
    echo "$3" > "$bin/.$1"
    printf 'built    %-8s %s\n' "$1" "$3"
  else
    printf 'missing  %-8s %s: %s\n' "$1" "$3" "$(printf '%s\n' "$out" | tail -n 1)"
  fi
}

install crane github.com/google/go-containerregistry/cmd/crane v0.20.3
install regctl github.com/regclient/regclient/cmd/regctl v0.8.2
install oras oras.land/oras/cmd/oras v1.2.3
install goss github.com/goss-org/goss/cmd/goss v0.4.9
install cosign github.com/sigstore/cosign/v2/cmd/cosign v2.6.5
install actionlint github.com/rhysd/actionlint/cmd/actionlint v1.7.7

# Modules that replace others cannot be installed by their name: NAME MODULE VERSION PACKAGE, built in a copy.
build() {
  if [ -x "$bin/$1" ] && [ "$(cat "$bin/.$1" 2>/dev/null)" = "$3" ]; then
    printf 'have     %-8s %s\n' "$1" "$3"
    return
  fi
  work=$(mktemp -d) || exit 1
  if out=$( { cd "$work" && GOFLAGS=-mod=mod GOTOOLCHAIN=local go mod download -json "$2@$3" >module.json &&
      cp -r "$(sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p' module.json)" copy && chmod -R u+w copy && cd copy &&
      GOFLAGS=-trimpath GOTOOLCHAIN=local CGO_ENABLED=0 go build -mod=mod -o "$bin/$1" "$4"; } 2>&1); then
    echo "$3" > "$bin/.$1"
    printf 'built    %-8s %s\n' "$1" "$3"
  else
    printf 'missing  %-8s %s: %s\n' "$1" "$3" "$(printf '%s\n' "$out" | tail -n 1)"
  fi
  rm -rf "$work"
}

build kaniko github.com/GoogleContainerTools/kaniko v1.24.0 ./cmd/executor

# Our program on soci-snapshotter's library; it needs cgo and zlib1g-dev.
if out=$(cd "$(dirname "$0")/soci-go" && GOFLAGS=-trimpath GOTOOLCHAIN=local CGO_ENABLED=1 go build -o "$bin/soci-read" . 2>&1); then
  printf 'built    %-8s\n' soci-read
else
  printf 'missing  %-8s %s\n' soci-read "$(printf '%s\n' "$out" | tail -n 1)"
fi
echo "peers: $bin"
