#!/usr/bin/env python3
"""Trees for the layer specs, independent of the code under test.

tree.py list ROOT            one sorted line per object: path type mode uid:gid mtime content xattrs links
tree.py list-seconds ROOT    the same with whole seconds
tree.py list-files ROOT      the same without the times of directories and without link groups
tree.py random ROOT SEED N   makes N random objects
tree.py mutate ROOT SEED N   does N random changes, as a RUN step would
tree.py diff OLD NEW         what a layer from OLD to NEW must hold: "path type", ".wh." for deletions;
                             "? path" for an unchanged file with several links (may be in or not)
"""
import hashlib
import os
import random
import stat
import sys


def walk(root):
    out = {}

    def visit(rel):
        full = os.path.join(root, rel) if rel else root
        for name in sorted(os.listdir(full or ".")):
            path = rel + "/" + name if rel else name
            st = os.lstat(os.path.join(root, path))
            out[path] = st
            if stat.S_ISDIR(st.st_mode):
                visit(path)

    visit("")
    return out


def kind(st):
    for test, name in ((stat.S_ISREG, "file"), (stat.S_ISDIR, "dir"), (stat.S_ISLNK, "symlink"),
                       (stat.S_ISFIFO, "fifo"), (stat.S_ISCHR, "char"), (stat.S_ISBLK, "block")):
        if test(st.st_mode):
            return name
    return "socket"


def xattrs(path, st):
    if kind(st) not in ("file", "dir"):
        return ""
    out = []
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        if name == "security.capability" or name.startswith("user.") and not name.startswith("user.overlay."):
            out.append(name + "=" + os.getxattr(path, name, follow_symlinks=False).hex())
    return ",".join(out)


def content(path, st):
    k = kind(st)
    if k == "file":
        with open(path, "rb") as f:
            return hashlib.sha256(f.read()).hexdigest()[:16]
    if k == "symlink":
        return os.readlink(path)
    if k in ("char", "block"):
        return "%d:%d" % (os.major(st.st_rdev), os.minor(st.st_rdev))
    return "-"


def describe(root, path, st, seconds):
    full = os.path.join(root, path)
    mtime = str(st.st_mtime_ns // 10**9 if seconds else st.st_mtime_ns)
    return [kind(st), "%04o" % stat.S_IMODE(st.st_mode), "%d:%d" % (st.st_uid, st.st_gid), mtime,
            content(full, st), xattrs(full, st)]


def listing(root, seconds, files_only=False):
    tree = sorted(walk(root).items())
    groups = {}
    for path, st in tree:
        if kind(st) != "dir" and not files_only:
            groups.setdefault(st.st_ino, []).append(path)
    for path, st in tree:
        fields = describe(root, path, st, seconds)
        if files_only and kind(st) == "dir":
            fields[3] = "-"
        group = groups.get(st.st_ino, [])
        print(repr(path), *fields, group[0] if len(group) > 1 else "")


def make(rng, full):
    what = rng.choice(["file"] * 6 + ["dir"] * 4 + ["symlink"] * 2 + ["fifo", "null"])
    if what == "file":
        with open(full, "wb") as f:
            f.write(rng.randbytes(rng.choice([0, 1, 511, 512, 513, 4000])))
        if rng.random() < 0.2:
            os.setxattr(full, "user.k%d" % rng.randrange(3), rng.randbytes(rng.randrange(9)))
    elif what == "dir":
        os.mkdir(full)
    elif what == "symlink":
        os.symlink(rng.choice(["x", "../y", "/etc", "a" * 130]), full)
    elif what == "fifo":
        os.mkfifo(full)
    else:
        os.mknod(full, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    dress(rng, full)


def dress(rng, full):
    os.chown(full, rng.choice([0, 0, 7, 70000, 3000000]), rng.choice([0, 0, 8]), follow_symlinks=False)
    if not os.path.islink(full):
        os.chmod(full, rng.choice([0o644, 0o755, 0o600, 0o1777, 0o2755, 0o4755]))
    at = rng.choice([0, 1, 1600000000]) * 10**9 + rng.choice([0, 0, 123456789])
    os.utime(full, ns=(at, at), follow_symlinks=False)


def names(rng):
    return rng.choice(["a", "b", "c", "d.e", "f-g", "h i", "\u00fc", "n" * 101]) + rng.choice(["", "1", "2"])


def pick(rng, root, want):
    found = [p for p, st in walk(root).items() if want(st)]
    return os.path.join(root, rng.choice(sorted(found))) if found else None


def is_dir(st):
    return stat.S_ISDIR(st.st_mode)


def new_path(rng, root):
    parent = root if rng.random() < 0.2 else pick(rng, root, is_dir) or root
    full = os.path.join(parent, names(rng))
    return None if os.path.lexists(full) else full


def grow(root, seed, n):
    rng = random.Random(seed)
    for _ in range(n):
        full = new_path(rng, root)
        if full:
            make(rng, full)
    for path, st in walk(root).items():  # times of directories were changed by their children
        at = rng.choice([5, 1500000000]) * 10**9
        if is_dir(st):
            os.utime(os.path.join(root, path), ns=(at, at))


def remove(full):
    if os.path.isdir(full) and not os.path.islink(full):
        for name in os.listdir(full):
            remove(os.path.join(full, name))
        os.rmdir(full)
    else:
        os.unlink(full)


def mutate(root, seed, n):
    rng = random.Random(seed)
    for _ in range(n):
        op = rng.choice(["make", "make", "remove", "recreate", "write", "touch", "chmod", "same", "link", "rename",
                         "cycle", "enter", "xattr"])
        any_ = pick(rng, root, lambda st: True)
        file = pick(rng, root, lambda st: stat.S_ISREG(st.st_mode))
        full = new_path(rng, root)
        if op == "make" and full:
            make(rng, full)
        elif op == "remove" and any_:
            remove(any_)
        elif op == "recreate" and any_:
            remove(any_)
            make(rng, any_)
        elif op == "write" and file:
            with open(file, "ab") as f:
                f.write(b"more")
        elif op == "touch" and any_:
            at = rng.randrange(2000000000) * 10**9
            os.utime(any_, ns=(at, at), follow_symlinks=False)
        elif op == "chmod" and any_:
            dress(rng, any_)
        elif op == "same" and any_ and not os.path.islink(any_):  # copied up, nothing changed
            os.chmod(any_, stat.S_IMODE(os.lstat(any_).st_mode))
        elif op == "link" and file and full:
            os.link(file, full)
        elif op == "rename" and file and full:
            os.rename(file, full)
        elif op == "cycle" and file and full:
            os.rename(file, full)
            os.rename(full, file)
        elif op == "enter":  # touches a directory and nothing else
            d = pick(rng, root, is_dir)
            if d:
                open(os.path.join(d, "tmp"), "w").close()
                os.unlink(os.path.join(d, "tmp"))
        elif op == "xattr" and file:
            os.setxattr(file, "user.new", b"v")


def diff(old_root, new_root):
    old, new = walk(old_root), walk(new_root)
    want, maybe = {}, set()
    for path, st in new.items():
        if kind(st) == "socket":
            continue
        a = describe(new_root, path, st, False)
        if path in old:
            b = describe(old_root, path, old[path], False)
            if kind(st) == "dir":
                a[3] = b[3] = ""  # the time of a directory alone is no change
            if a == b:
                if kind(st) != "dir" and st.st_nlink > 1:
                    maybe.add(path)
                continue
        want[path] = kind(st)
    for path in old:
        parent = os.path.dirname(path)
        visible = not parent or (parent in new and is_dir(new[parent]))
        if path not in new and visible:
            base = ".wh." + os.path.basename(path)
            want[parent + "/" + base if parent else base] = "file"
    for path in list(want):  # parents are recorded with their metadata
        while "/" in path:
            path = os.path.dirname(path)
            want.setdefault(path, "dir")
    for path in sorted(want):
        print(repr(path), want[path])
    for path in sorted(maybe):
        print("?", repr(path))


if __name__ == "__main__":
    command, args = sys.argv[1], sys.argv[2:]
    if command == "list":
        listing(args[0], False)
    elif command == "list-seconds":
        listing(args[0], True)
    elif command == "list-files":
        listing(args[0], False, files_only=True)
    elif command == "random":
        grow(args[0], int(args[1]), int(args[2]))
    elif command == "mutate":
        mutate(args[0], int(args[1]), int(args[2]))
    elif command == "diff":
        diff(args[0], args[1])
