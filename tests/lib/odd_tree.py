#!/usr/bin/env python3
"""Fills the working directory with names and values at the edges of the ustar format (needs root)."""
import os

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


def put(name, data=b"x"):
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    with open(name, "wb") as f:
        f.write(data)


def names():
    put("a" * 100)
    put("b" * 101)
    put("c" * 255)
    for prefix, base in ((50, 60), (160, 60), (150, 100), (155, 100), (154, 101)):
        put("d" * prefix + "/" + "e" * base)
    for n in (99, 100, 101):
        os.makedirs(chr(ord("f") + n - 99) * n)
    os.makedirs("i" * 60 + "/" + "j" * 60)
    os.makedirs("k" * 155 + "/" + "l" * 99)
    os.makedirs("k" * 155 + "/" + "l" * 100)
    put("\u00fcn\u00ef/c\u00f6d\u00e9")
    put("long/" + "\u00fc" * 80)
    put(os.fsdecode(b"bad\xff\xfename"))
    put("sp ace/new\nline")
    for name in ("a.b/x", "a/x", "a-b/x", "a b"):
        put(name)
    deep = "/".join(["p" * 40] * 8)
    put(deep + "/deep")
    os.symlink("../" * 40 + "x", deep + "/ln")
    os.link(deep + "/deep", deep + "/hard")
    os.symlink("t" * 100, "s100")
    os.symlink("t" * 101, "s101")
    os.symlink("\u00fc", "s\u00fc")


def values():
    put("big-uid")
    os.chown("big-uid", 3000000, 4000000000)
    put("suid")
    os.chmod("suid", 0o6755)
    put("sticky/x")
    os.chmod("sticky", 0o1777)
    put("hl1", b"hello")
    os.link("hl1", "hl2")
    os.link("hl1", "a-hl")
    os.mkfifo("fifo")
    os.mknod("null", 0o020666, os.makedev(1, 3))
    os.mknod("blk", 0o060660, os.makedev(259, 70000))
    os.mknod("gone", 0o020000, 0)
    os.mkdir("wd")
    os.mknod("wd/gone2", 0o020000, 0)
    for size in (0, 511, 512, 513, 1 << 20, 3 * (1 << 20) + 17):
        put("size%d" % size, b"q" * size)


def attributes():
    put("xa")
    os.setxattr("xa", "user.b", b"bin\0\xff")
    os.setxattr("xa", "user.a", b"")
    os.setxattr("xa", "security.capability", CAPABILITY)
    for name in ("xa" + "z" * 120, "y" * 80 + "/" + "z" * 60):
        put(name)
        os.setxattr(name, "user.q", b"1")
    os.makedirs("xd/" + "z" * 99)
    os.setxattr("xd/" + "z" * 99, "user.q", b"1" * 1000)


def times():
    special = {"neg": -5 * 10**9, "fut": 9000000000 * 10**9, "frac": 1500000000999999999, "negfrac": -1500000001}
    for name in special:
        put(name)
    for top, dirs, files in os.walk(".", topdown=False):
        for name in files + dirs:
            full = os.path.join(top, name)
            at = special.get(name, 1234567890 * 10**9)
            os.utime(full, ns=(at, at), follow_symlinks=False)


if __name__ == "__main__":
    os.umask(0o022)
    names()
    values()
    attributes()
    times()
