#!/bin/sh
# demo.sh PROGRAM: makes the base, builds the family into a store of its own, runs the checks.
set -eu
bakery=$(realpath "$1")
cd "$(dirname "$0")"
BAKERY_STORE=${BAKERY_STORE:-$(realpath ../..)/build/demo-store}
export BAKERY_STORE
./prepare.sh
echo "\$ bakery build"
"$bakery" build
echo
images=$(dirname "$BAKERY_STORE")/demo-images
echo "\$ bakery build --output oci:$images     (again: everything comes from the cache)"
"$bakery" build --progress quiet --output "oci:$images"
echo
echo "\$ bakery test --image-name hello"
"$bakery" test --image-name hello
cat <<'END'

Built and checked. Next:
  cd examples/quickstart; export BAKERY_STORE=$PWD/../../build/demo-store PATH=$PWD/../../build:$PATH
  bakery build --plan                        the plan as data
  bakery build --image-version 1.1.0 --output oci:/tmp/hello && skopeo inspect oci:/tmp/hello:1.1.0
  bakery recipes show build --why            what a build does, step by step, and where each step lives
  bakery recipes eject build                 take the recipe into the project and change it
  bakery build --push                        push to the registry named in bakery.yaml
  bakery doctor                              what this machine can do
  cd ../family; cat README.md                an example with templates, values and a changed recipe
END
