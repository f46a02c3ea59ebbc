#!/bin/sh
# Makes base/1.0/rootfs from the machine's static busybox.
set -eu
cd "$(dirname "$0")"
busybox=$(command -v busybox) || { echo "busybox-static is needed: apt-get install busybox-static" >&2; exit 1; }
root=base/1.0/rootfs
rm -rf "$root"
mkdir -p "$root/bin" "$root/etc" "$root/tmp" "$root/root"
chmod 1777 "$root/tmp"
cp "$busybox" "$root/bin/busybox"
for applet in sh cat echo ls id env sleep test true false mkdir rm grep uname wc head date chmod touch; do
  ln -s busybox "$root/bin/$applet"
done
printf 'root:x:0:0:root:/root:/bin/sh\nhello:x:1000:1000:hello:/tmp:/bin/sh\n' > "$root/etc/passwd"
printf 'root:x:0:\nhello:x:1000:\n' > "$root/etc/group"
