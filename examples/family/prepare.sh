#!/bin/sh
# Makes rootfs/ from the machine's static busybox.
set -eu
cd "$(dirname "$0")"
busybox=$(command -v busybox) || { echo "busybox-static is needed: apt-get install busybox-static" >&2; exit 1; }
rm -rf rootfs
mkdir -p rootfs/bin rootfs/tmp
chmod 1777 rootfs/tmp
cp "$busybox" rootfs/bin/busybox
for applet in sh cat echo ls id env test mkdir sed adduser addgroup chmod sleep; do ln -s busybox "rootfs/bin/$applet"; done
