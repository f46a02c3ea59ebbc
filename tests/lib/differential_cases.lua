--- Cases of the differential suite; the fields are described in lib/differential.lua.
local world = require "lib.world"

local function sh(dir, script) world.run({ "sh", "-ec", script }, { cwd = dir }) end

local cases = {}
local function case(t) cases[#cases + 1] = t end

-- COPY

case {
  name = "COPY of a file: new name, new directories, existing directories, replaced file",
  files = { ["a.txt"] = "a", ["b.txt"] = "bb", passwd = "root:x:0:0::/:/bin/sh\n" },
  text = [[
COPY a.txt /a
COPY a.txt /new/dir/b
COPY a.txt /etc/
COPY a.txt b.txt /multi/
COPY b.txt /tmp
COPY ["a.txt", "/json form/"]
COPY passwd /etc/passwd
COPY ./b.txt ../../up
COPY /a.txt /rooted
COPY ../../a.txt /outside
]],
  expect = { a = "file 0644 0:0 1600000000", ["new/dir"] = "dir 0755 0:0", ["multi/b.txt"] = "file", up = "file",
    ["json form/a.txt"] = "file", tmp = "dir 1777", outside = "file" },
}

case {
  name = "COPY of a directory: its content, modes, empty directories, merge into existing ones",
  files = { ["d/x"] = "x", ["d/sub/y"] = "y", ["e/sub/z"] = "z", ["e/x"] = "replaced", ["etc/more"] = "m" },
  tweak = function(dir) sh(dir, "mkdir -p d/empty d/shut; chmod 700 d/shut; chmod 750 d/sub; chmod 1777 d; chmod 711 e/sub; chmod 600 d/x") end,
  text = [[
COPY d /one
COPY d/ /two/
COPY d/. /three
COPY d e /merged/
COPY d /four/five
COPY etc /etc
COPY e /one
]],
  expect = { one = "dir 0755", ["one/sub"] = "dir 0711", ["one/shut"] = "dir 0700", ["one/empty"] = "dir 0755",
    ["three/x"] = "file 0600", ["one/x"] = "file 0644", ["one/d"] = false },
}

case {
  name = "COPY with wildcards",
  files = { ["a1.txt"] = "1", ["a2.txt"] = "2", ["b.txt"] = "b", ["a1.bin"] = "bin", ["d1/x"] = "x1", ["d2/y"] = "y2", ["d2/x.txt"] = "deep" },
  text = [[
COPY a*.txt /star/
COPY a?.* /question/
COPY [ab]*.txt /class/
COPY a[^1].txt /negated/
COPY d* /dirs/
COPY d?/* /below/
COPY *.txt d1 /mixed/
]],
  expect = { ["star/a1.txt"] = "file", ["star/b.txt"] = false, ["question/a1.bin"] = "file", ["class/b.txt"] = "file",
    ["negated/a2.txt"] = "file", ["negated/a1.txt"] = false, ["dirs/x"] = "file", ["dirs/d1"] = false, ["below/y"] = "file" },
}

case {
  name = "wildcards: no match, a bracket in a class",
  only = "buildah fails; BuildKit copies nothing, and the file",
  files = { ["a[1].log"] = "brackets" },
  text = "COPY nothing*.txt /none/\nCOPY a[[]1].log /escaped/\nCOPY base/etc/group /after\n",
  expect = { after = "file", ["escaped/a[1].log"] = "file" },
}

case {
  name = "several sources without a slash at the destination",
  only = "buildah makes a directory, BuildKit leaves the last source",
  files = { a = "1", b = "22" },
  text = "COPY a b /x\n",
  expect = { x = "file 0644 0:0 1600000000 2 " },
}

case {
  name = "COPY through symlinks at the destination",
  files = { ["d/f"] = "f", g = "g" },
  tweak = function(dir)
    sh(dir, "mkdir -p tree/real/deep tree/abs && ln -s real tree/link && ln -s /real/deep tree/abs/deep && ln -s ../../../../real tree/abs/up "
      .. "&& echo old > tree/target && ln -s target tree/tolink && ln -s link tree/chain")
  end,
  text = [[
COPY tree /
COPY d /link
COPY d /abs/deep/
COPY g /abs/up/through
COPY g /tolink
COPY g /chain/new/g
]],
  expect = { ["real/f"] = "file", ["real/deep/f"] = "file", ["real/through"] = "file", target = "file 0644 0:0 1600000000 1 ",
    tolink = "symlink", link = "symlink", ["real/new/g"] = "file" },
  skip = { target = "buildah replaces the link itself", tolink = "buildah replaces the link itself" },
}

case {
  name = "COPY to a dangling symlink",
  only = "buildah makes a directory of the link's target, BuildKit the file",
  files = { g = "g" },
  tweak = function(dir) sh(dir, "mkdir tree && ln -s nowhere/far tree/dangling") end,
  text = "COPY tree /\nCOPY g /dangling\n",
  expect = { dangling = "symlink", ["nowhere/far"] = "file" },
}

case {
  name = "COPY --chown by number and by name",
  files = { ["d/sub/f"] = "f", g = "g" },
  tweak = function(dir) sh(dir, "chown -R 7:8 d g; chmod 750 d/sub") end,
  text = [[
COPY g /plain
COPY --chown=12:34 d /numbers
COPY --chown=app d /user
COPY --chown=app:staff d /names/deep/er
COPY --chown=0:staff g /mixed
COPY --chown=1000 g /number-alone
COPY --chown=12:34 g /etc/
COPY --chown=12:34 d /home
]],
  expect = { plain = "file 0644 0:0", ["numbers/sub/f"] = "file 0644 12:34", ["user/sub"] = "dir 0750 1000:1001",
    names = "dir 0755 1000:50", mixed = "file 0644 0:50", ["number-alone"] = "file 0644 1000:", etc = "dir 0755 0:0",
    home = "dir 0755 0:0" },
}

case {
  name = "COPY --chown of a name that is not there",
  only = "buildah fails, BuildKit takes 0:0",
  text = "COPY --chown=nosuch base/etc/group /g\n",
  expect = { g = "file 0644 0:0" },
}

case {
  name = "COPY --chmod by number",
  files = { ["d/sub/f"] = "f", g = "g", ["run.sh"] = "#!/bin/sh\n" },
  tweak = function(dir) sh(dir, "ln -s f d/sub/l") end,
  kit = { setuid = "20.10 takes only the lower nine bits" },
  text = [[
COPY --chmod=755 g /bin/g
COPY --chmod=0600 run.sh /run.sh
COPY --chmod=0750 d/sub /etc
COPY --chmod=4755 g /setuid
]],
  expect = { ["bin/g"] = "file 0755", ["run.sh"] = "file 0600", ["etc/f"] = "file 0750", setuid = "file 4755" },
}

case {
  name = "setuid, setgid and sticky bits of the context",
  files = { su = "#!", sg = "#!", ["d/f"] = "f", ["s/f"] = "f" },
  tweak = function(dir) sh(dir, "mkdir t; mv d s t; chmod 4755 su; chmod 2755 sg; chmod 2775 t/d; chmod 1777 t/s") end,
  text = "COPY su sg /\nCOPY t /t\n",
  skip = { su = "buildah strips setuid", sg = "buildah strips setgid", ["t/d"] = "buildah strips setgid" },
  expect = { su = "file 4755", sg = "file 2755", ["t/d"] = "dir 2775", ["t/s"] = "dir 1777" },
}

case {
  name = "names that start with a dot",
  files = { [".env"] = "e", ["d/.hidden"] = "h", ["d/.conf/x"] = "x", ["d/..data"] = "dd", ["d/...x"] = "ddd" },
  text = "COPY .env /\nCOPY d /d\nCOPY d/.* /stars/\n",
  expect = { [".env"] = "file", ["d/.hidden"] = "file", ["d/..data"] = "file", ["d/.conf/x"] = "file", ["stars/x"] = "file" },
}

case {
  name = "odd names: blanks, quotes, UTF-8, leading dash, shell characters",
  files = { ["d/a b"] = "1", ["d/-rf"] = "2", ["d/grün 日本"] = "3", ["d/it's \"it\""] = "4", ["d/$HOME;*"] = "5", ["d/tab\there"] = "6",
    ["d/back\\slash"] = "7", ["sp ace/f"] = "8", ["d/" .. ("n"):rep(200)] = "9" },
  tweak = function(dir) sh(dir, [[printf x > "$(printf 'd/\377\376')"; ln -s 'a b' 'd/link to']]) end,
  text = "COPY d /odd\nCOPY [\"sp ace\", \"/sp ace/\"]\nCOPY [\"d/a b\", \"d/-rf\", \"/picked/\"]\nRUN rm /odd/-rf '/odd/a b'\n",
  expect = { ["odd/grün 日本"] = "file", ["odd/\255\254"] = "file", ["odd/-rf"] = false, ["picked/-rf"] = "file", ["odd/back\\slash"] = "file",
    ["odd/link to"] = "symlink" },
}

case {
  name = "an ignore file with exceptions",
  files = { [".dockerignore"] = "# comment\n\n*.log\n!keep.log\n**/*.tmp\n/build\nnode_modules/**\n!node_modules/wanted\ndocs/*.md\n!docs/README.md\n",
    ["a.log"] = "a", ["keep.log"] = "k", ["d/a.log"] = "deep", ["d/x.tmp"] = "t", ["x.tmp"] = "t", ["build/out"] = "o", ["d/build/out"] = "o",
    ["node_modules/wanted"] = "w", ["node_modules/other"] = "o", ["docs/a.md"] = "a", ["docs/README.md"] = "r", ["docs/sub/b.md"] = "b" },
  text = "COPY . /all\nCOPY docs /docs\nCOPY d* /wild/\n",
  expect = { ["all/a.log"] = false, ["all/keep.log"] = "file", ["all/d/a.log"] = "file", ["all/d/x.tmp"] = false, ["all/build"] = false,
    ["all/d/build/out"] = "file", ["all/node_modules/wanted"] = "file", ["all/node_modules/other"] = false, ["docs/a.md"] = false,
    ["docs/README.md"] = "file", ["docs/sub/b.md"] = "file" },
}

case {
  name = "an ignored path cannot be copied",
  files = { [".dockerignore"] = "secret\n", secret = "s" },
  text = "COPY base/etc/group /g\nCOPY secret /secret\n",
  fails = "COPY secret /secret",
}

case {
  name = "hard links inside a copied tree",
  files = { ["d/one"] = "1", ["d/sub/x"] = "x" },
  tweak = function(dir) sh(dir, "ln d/one d/sub/two; ln d/one d/three; ln d/one outside") end,
  text = "COPY d /d\nCOPY outside /outside\nCOPY d/three /single\n",
  expect = { ["d/one"] = "file 0644", ["d/sub/two"] = "file 0644 0:0 1600000000 same as d/one" },
}

case {
  name = "symlinks of the context",
  files = { ["d/f"] = "f", ["real/g"] = "g" },
  tweak = function(dir)
    sh(dir, "ln -s f d/rel; ln -s /etc/passwd d/abs; ln -s nowhere d/dangling; ln -s ../real d/dir; ln -s real top; ln -s real/g file; ln -s ../../../x d/out")
  end,
  text = "COPY d /d\nCOPY top /top\nCOPY file /file\nCOPY top/g /through\n",
  expect = { ["d/rel"] = "symlink 0777 0:0 1600000000 -> f", ["d/dangling"] = "symlink", ["top/g"] = "file", file = "file", through = "file" },
}

case {
  name = "COPY --from a stage: owners, modes and links stay",
  text = [[
RUN mkdir -p /out/sub /out/none && echo x > /out/x && chown -R 12:34 /out && chmod 4711 /out/x && chmod 700 /out/sub
RUN cd /out && ln x sub/hard && ln -s x soft && chmod 1775 none && touch -d '2001-02-03 04:05:06' sub/old

FROM scratch
COPY --from=0 /out /kept
COPY --from=0 /out/x /out/soft /picked/
COPY --from=0 --chown=5:6 /out/sub /owned
COPY --from=0 out/s* /wild/
]],
  expect = { ["kept/x"] = "file 4711 12:34", kept = "dir 0755 0:0", ["kept/none"] = "dir 1775 12:34",
    ["picked/soft"] = "file 4711 12:34", ["owned/old"] = "file 0644 5:6 981173106" },
}

case {
  name = "stages: FROM a stage, by number and by name, unused ones",
  whole = true,
  kit = { ["history.6"] = "20.10 leaves inherited values out" },
  text = [[
ARG TAIL=last
FROM scratch AS base
COPY base/ /
ENV PATH=/bin LEFT=over
LABEL from=base
WORKDIR /made

FROM base AS one
RUN echo one > file

FROM base AS unused
RUN exit 1

FROM one AS two
ARG TAIL
RUN echo two >> file; echo "$TAIL" > tail
COPY --from=1 /made/file first

FROM two
COPY --from=one /made/file /copied
]],
  expect = { ["made/file"] = "file", ["made/first"] = "file 0644 0:0 now 4", copied = "file", ["config.WorkingDir"] = '"/made"' },
}

case {
  name = "stage names in any case",
  only = "buildah tells upper and lower case apart",
  whole = true,
  old = "20.10 wants the names lower case",
  text = "FROM scratch AS Made\nCOPY base/etc /etc\nFROM mADE AS other\nFROM scratch\nCOPY --from=OTHER /etc/group /g\n",
  expect = { g = "file" },
}

case {
  name = "FROM and COPY --from an image of a registry",
  whole = true,
  image = true,
  text = "FROM @IMAGE@\nRUN rm /etc/group && echo more >> /made\nCOPY --from=@IMAGE@ /made /etc/group /kept/\nCOPY --from=@IMAGE@ /owned/ /other/\n",
  expect = { ["kept/made"] = "file 0640 12:34", ["etc/group"] = false, ["other/x"] = "file 0600 12:34", ["config.Labels"] = '{"of":"base"}' },
}

case {
  name = "COPY over files of lower layers: linked, replaced, deleted ones",
  files = { ["d/one"] = "1", ["new/one"] = "other", ["new/gone"] = "back", ["dirs/bin/more"] = "m", ["dirs/tmp/x"] = "x" },
  tweak = function(dir) sh(dir, "ln d/one d/two; chmod 700 dirs/tmp; ln -s /etc new/etc; mkfifo new/fifo") end,
  kit = { ["d/fifo"] = "the transfer of a context leaves fifos out" },
  text = "COPY d /d\nRUN echo > /d/gone && rm /d/gone && mkdir /d/was && echo > /d/was/x && rm -r /d/was\nCOPY new/one /d/one\nCOPY new /d\nCOPY d /d/was\n"
    .. "COPY dirs /\nCOPY d/two /bin/cat/../../d/two\n",
  expect = { ["d/one"] = "file 0644 0:0 1600000000 5 ", ["d/two"] = "file 0644 0:0 1600000000 1 ", ["d/gone"] = "file", tmp = "dir 0700",
    ["d/was/x"] = false, ["d/fifo"] = "fifo" },
}

case {
  name = "COPY --chmod: new parents",
  files = { ["d/f"] = "f" },
  kit = { new = "20.10 makes parents 0755", ["new/deep"] = "the same", file = "the same", ["file/deep"] = "the same" },
  text = "COPY --chmod=0700 d /new/deep\nCOPY --chmod=0700 d/f /file/deep/f\n",
  skip = { new = "buildah makes new directories 0755", ["new/deep"] = "the same", file = "the same", ["file/deep"] = "the same" },
  expect = { new = "dir 0700", ["new/deep"] = "dir 0700", ["new/deep/f"] = "file 0700" },
}

-- ADD

local function archives(dir)
  sh(dir, [[
mkdir -p t/in/deep; echo one > t/in/one; echo two > t/in/deep/two; ln t/in/one t/in/hard; ln -s one t/in/soft
chmod 640 t/in/one; chmod 750 t/in/deep; chown -R 21:22 t/in
touch -h -d @1500000000 t/in/soft t/in/one t/in/deep/two
tar -C t -cf plain.tar in; tar -C t -czf packed.tgz in; tar -C t -cjf odd-name in; echo text > t/text; gzip -nc t/text > text.gz; rm -r t]])
end

case {
  name = "ADD unpacks archives, by content",
  tweak = archives,
  text = [[
ADD plain.tar /plain
ADD packed.tgz /packed/
ADD odd-name /odd
ADD plain.tar packed.tgz /both/
ADD plain.tar /etc
ADD text.gz /text.gz
COPY plain.tar /copied.tar
]],
  expect = { ["plain/in/one"] = "file 0640 21:22 1500000000", ["plain/in/hard"] = "file 0640 21:22 1500000000",
    ["packed/in/deep"] = "dir 0750 21:22", ["odd/in/soft"] = "symlink", ["text.gz"] = "file", ["copied.tar"] = "file" },
}

case {
  name = "ADD of an archive over existing files, with implied directories and long names",
  tweak = function(dir)
    sh(dir, [[
mkdir -p t/etc t/implied/deep t/link t/]] .. ("long-name-of-a-directory/"):rep(9) .. [[; echo new > t/etc/passwd; echo x > t/implied/deep/x
echo y > t/]] .. ("long-name-of-a-directory/"):rep(9) .. [[file; echo z > t/link/z; echo u > 't/grün'; echo b > t/big
chown 3000000:3000001 t/big; chmod 711 t/etc; touch -d @1400000000 t/etc/passwd t/implied/deep/x
cd t; tar -cf ../gnu.tar --format=gnu ./etc ./long* ./big; tar -cf ../pax.tar --format=pax implied/deep/x long* grün big; cd ..; rm -r t]])
  end,
  text = "ADD gnu.tar /\nADD pax.tar /pax/\nRUN ln -s /etc /pax/later\nADD pax.tar /pax\n",
  expect = { etc = "dir 0711", ["etc/passwd"] = "file 0644 0:0 1400000000", ["pax/implied/deep/x"] = "file 0644 0:0 1400000000",
    big = "file 0644 3000000:3000001", ["pax/grün"] = "file" },
}

case {
  name = "ADD of what is no archive",
  files = { f = "f", ["d/x"] = "x", ["fake.tar"] = "not a tar" },
  text = "ADD f /f\nADD d /d\nADD --chown=app:staff f /owned/\nADD --chmod=700 f /mode\nADD fake.tar /x/\nADD f d /many/\n",
  expect = { ["owned/f"] = "file 0644 1000:50", mode = "file 0700", ["x/fake.tar"] = "file" },
}

-- RUN

case {
  name = "RUN deletes files and directories of lower layers",
  files = { ["t/a"] = "a", ["t/d/x"] = "x", ["t/d/sub/y"] = "y", ["t/keep/one"] = "1", ["t/keep/two"] = "2" },
  text = "COPY t /t\nRUN rm /t/a && rm -rf /t/d /home && rm /t/keep/one /bin/true\nRUN touch /t/a\n",
  expect = { ["t/a"] = "file 0644 0:0 now 0", ["t/d"] = false, home = false, ["bin/true"] = false, ["t/keep/two"] = "file" },
}

case {
  name = "RUN replaces directories by files, files by directories, links by both",
  files = { ["t/d/x"] = "x", ["t/f"] = "f", ["t/e/x"] = "x", ["t/g"] = "g", ["t/h/x"] = "h" },
  tweak = function(dir) sh(dir, "ln -s d t/ld; ln -s f t/lf") end,
  text = "COPY t /t\nRUN cd /t && rm -r d && echo now > d && rm f && mkdir f && echo in > f/in && rm ld lf && mkdir ld && echo lf > lf\n"
    .. "RUN cd /t && rm -r e && ln -s g e && rm g && ln -s h g\n",
  expect = { ["t/d"] = "file", ["t/d/x"] = false, ["t/f/in"] = "file", ["t/ld"] = "dir", ["t/lf"] = "file", ["t/e"] = "symlink" },
}

case {
  name = "RUN renames files and directories of lower layers",
  files = { ["t/d/x"] = "x", ["t/d/sub/y"] = "y", ["t/f"] = "f" },
  tweak = function(dir) sh(dir, "chmod 750 t/d/sub") end,
  text = "COPY t /t\nRUN cd /t && mv d moved && mv f g && mv moved/sub up && mkdir d && echo new > d/x\nRUN mv /t/moved /moved && mv /t/up /t/d/up\n",
  expect = { ["moved/x"] = "file 0644 0:0 1600000000", ["t/d/up"] = "dir 0750", ["t/d/up/y"] = "file", ["t/f"] = false,
    ["t/up"] = false, ["moved/sub"] = false },
}

case {
  name = "RUN empties and recreates directories of lower layers",
  files = { ["d/x"] = "x", ["d/sub/y"] = "y", ["e/sub/y"] = "y", ["e/z"] = "z" },
  text = "COPY d /d\nCOPY e /e\nRUN rm -rf /d && mkdir /d && rm -rf /e/sub && mkdir -m 700 /e/sub && echo new > /e/sub/n\n"
    .. "RUN rm -rf /e && mkdir -p /e/sub && echo last > /e/sub/l\nCOPY d/sub /d/sub\n",
  expect = { d = "dir 0755", ["d/x"] = false, ["d/sub/y"] = "file", ["e/z"] = false, ["e/sub/n"] = false, ["e/sub/y"] = false,
    ["e/sub"] = "dir 0755", ["e/sub/l"] = "file" },
}

case {
  name = "RUN changes modes, owners and times of lower files",
  files = { ["t/f"] = "f", ["t/g"] = "g", ["t/d/x"] = "x", ["t/same"] = "s" },
  tweak = function(dir) sh(dir, "ln -s f t/l") end,
  text = "COPY t /t\nRUN cd /t && chmod 4600 f && chown 5:6 g && chown -h 7:8 l && chmod 700 d && chown app d && touch -d '2001-02-03 04:05:06' d/x\n"
    .. "RUN chmod 644 /t/same && chmod u+s /bin/busybox && cp -p /t/d/x /t/copy\n",
  expect = { ["t/f"] = "file 4600 0:0 1600000000", ["t/g"] = "file 0644 5:6 1600000000", ["t/l"] = "symlink 0777 7:8",
    ["t/d"] = "dir 0700 1000:0", ["t/d/x"] = "file 0644 0:0 981173106", ["bin/busybox"] = "file 4755",
    ["t/same"] = "file 0644 0:0 1600000000", ["t/copy"] = "file 0644 0:0 981173106" },
}

case {
  name = "RUN makes hard links to lower files and breaks lower groups",
  files = { ["d/one"] = "1", ["e/a"] = "a", ["f/x"] = "x" },
  tweak = function(dir) sh(dir, "ln d/one d/two; ln d/one d/three; ln f/x f/y") end,
  text = "COPY e /e\nCOPY f /f\nRUN ln /e/a /e/b && ln /e/a /c && echo x > /new && ln /new /new2 && rm /f/x\nRUN rm /new && ln /new2 /new3\n",
  expect = { ["e/a"] = "file 0644 0:0 1600000000 same as c", ["e/b"] = "file 0644 0:0 1600000000 same as c", ["f/y"] = "file",
    new3 = "file 0644 0:0 now same as new2", new = false },
}

case {
  name = "RUN: shell and exec form, continuation lines, comments, quoting",
  text = [[
run echo lower > /lower
RUN ["/bin/sh", "-c", "echo \"exec $0\" > /exec", "name"]
RUN echo one \
  # a comment between
  two \

  three > /continued
RUN echo 'single $HOME' "double \$HOME" back\\slash # tail > /quoted; true
RUN echo 'a # b' > /hash && umask > /umask
RUN ["/bin/touch", "/no shell; here"]
RUN read x || echo eof > /stdin
]],
  expect = { lower = "file", exec = "file", continued = "file", ["no shell; here"] = "file", stdin = "file", quoted = false },
}

case {
  name = "RUN with special files, sparse and large files",
  text = "RUN mknod /fifo p && dd if=/dev/zero of=/sparse bs=1 count=1 seek=6000000 2>/dev/null && dd if=/dev/zero bs=1M count=12 2>/dev/null "
    .. "| tr '\\0' 'x' > /large && echo > \"$(printf 'l%.0s' $(seq 250))\" && mkdir -p /"
    .. ("long-directory-name/"):rep(12) .. " && echo deep > /" .. ("long-directory-name/"):rep(12) .. "file\n",
  expect = { large = "file 0644 0:0 now 12582912", sparse = "file 0644 0:0 now 6000001", fifo = "fifo 0644" },
}

case {
  name = "RUN with owners and times out of the ordinary",
  text = "RUN touch -d '1960-01-01 00:00:00' /old && touch -d '2100-01-01 00:00:00' /future && echo > /big && chown 3000000000:2147483648 /big "
    .. "&& mkdir -m 0 /shut && echo > /none && chmod 0 /none && ln -s \"$(printf 'x%.0s' $(seq 200))\" /far\n",
  expect = { old = "file 0644 0:0 -315619200", future = "file 0644 0:0 4102444800", big = "file 0644 3000000000:2147483648", shut = "dir 0000",
    none = "file 0000", far = "symlink" },
}

case {
  name = "RUN moves directories over and into each other, copies trees",
  files = { ["t/a/x"] = "x", ["t/b/y"] = "y", ["t/empty/.keep"] = "", ["t/deep/1/2/3/f"] = "f" },
  text = "COPY t /t\nRUN cd /t && rm -r empty && mv a empty && cp -a deep copy && mv deep/1/2 two && mv b deep/1 && rm -r two/3\n"
    .. "RUN cd /t && mv copy/1 deep/1/b/one && find /t -name f -exec mv {} {}.moved ';' && mv /t /u && mkdir /t\n"
    .. "RUN mv /u/deep /t/deep && rmdir /u/two && rm -rf /u\n",
  expect = { u = false, ["t/deep/1/b/one/2/3/f.moved"] = "file 0644 0:0 1600000000", ["t/deep/1/b/y"] = "file" },
}

case {
  name = "USER and RUN",
  text = [[
RUN chmod 777 /home
USER app
RUN id -u > /home/app-id; id -g >> /home/app-id; echo "$HOME" > /tmp/home; touch /tmp/by-app
USER app:staff
RUN touch /tmp/by-app-staff
USER 1234
RUN touch /tmp/by-1234
USER 1234:50
RUN touch /tmp/by-1234-50
USER 1000
RUN id -G > /tmp/groups; touch /tmp/by-1000
USER root
RUN touch /tmp/by-root
USER app:app
]],
  expect = { ["tmp/by-app"] = "file 0644 1000:1001", ["tmp/by-app-staff"] = "file 0644 1000:50", ["tmp/by-1234"] = "file 0644 1234:0",
    ["tmp/by-1234-50"] = "file 0644 1234:50", ["tmp/by-1000"] = "file 0644 1000:1001", ["config.User"] = '"app:app"' },
}

case {
  name = "SHELL changes the shell form",
  format = "docker",
  text = "SHELL [\"/bin/sh\", \"-ec\"]\nRUN false || true; echo e > /e\nSHELL [\"/bin/echo\"]\nRUN nothing happens > /x\nENTRYPOINT run me\nCMD $A b\n",
  skip = { ["config.Entrypoint"] = "buildah keeps /bin/sh here", ["config.Cmd"] = "the same" },
  expect = { e = "file", x = false, ["config.Entrypoint"] = '["/bin/echo","run me"]' },
}

case { name = "a failing RUN stops the build", text = "RUN true\nRUN echo no; exit 3\nRUN true\n", fails = "RUN echo no; exit 3" }

case {
  name = "heredocs",
  only = "buildah 1.28 does not know them",
  old = "20.10 does not know them",
  text = "RUN <<EOF\necho one > /one\necho \"$PATH\" > /path\nEOF\nRUN <<-'X' cat > /two\n\tkept $PATH\n\tX\n"
    .. "COPY <<A <<\"B\" /files/\nexpanded $PATH\nA\nnot $PATH\nB\n"
    .. "COPY --chmod=700 --chown=5:6 <<run.sh /run.sh\n#!/bin/sh\nrun.sh\n",
  expect = { one = "file 0644 0:0 now 4", path = "file 0644 0:0 now 5", two = "file 0644 0:0 now 11", ["files/A"] = "file 0644 0:0 now 14",
    ["files/B"] = "file 0644 0:0 now 10", ["run.sh"] = "file 0700 5:6 now 10" },
}

-- WORKDIR, ENV, ARG

case {
  name = "WORKDIR: created, relative, expanded, and as base of destinations",
  files = { f = "f", ["d/x"] = "x" },
  text = [[
ENV SUB=expanded
WORKDIR /srv
WORKDIR app
WORKDIR $SUB/${SUB}/..
COPY f .
COPY f ./g
COPY d sub/
COPY f ../up
RUN pwd > here
WORKDIR /etc
RUN touch there
WORKDIR "/with blank/"
]],
  expect = { ["srv/app/expanded/f"] = "file", ["srv/app/expanded/here"] = "file", ["etc/there"] = "file", ["srv/app/up"] = "file",
    ["with blank"] = "dir 0755 0:0", ["config.WorkingDir"] = '"/with blank/"' },
}

case {
  name = "WORKDIR below a USER",
  text = "USER app\nWORKDIR /opt/mine\nWORKDIR /home/app/deep/er\nRUN touch by-app\n",
  expect = { ["opt/mine"] = "dir 0755 1000:", ["home/app"] = "dir 0755 0:0", ["home/app/deep/er/by-app"] = "file 0644 1000:1001" },
}

case {
  name = "ENV and ARG: defaults, alternatives, quotes, escapes, order within a line",
  text = [[
ARG SET=value
ARG EMPTY=
ARG UNSET
ENV A=one B="two words" C='single $A' D=back\ slash E="q\"uote" F=\$A
ENV legacy form with  blanks
ENV A=first N=$A
ENV X=${SET:-d} Y=${EMPTY:-d} Z=${UNSET:-d} P=${SET:+p} Q=${EMPTY:+p}
ENV ONE=${A}two $A=dynamic
ENV Q1="$A" Q2='$A' Q3=a"$A"b Q4=${MISSING}x Q5=${MISSING:-${A}} EMPTYVALUE=
ENV PATH=/bin:$PATH
RUN echo "$SET|$EMPTY|$UNSET|$A|$N|$Q3" > /seen
]],
  expect = { seen = "file" },
}

case {
  name = "ARG: before FROM, defaults from others, the same name again",
  whole = true,
  kit = { ["history.4"] = "20.10 leaves inherited values out", ["history.12"] = "20.10 names an argument twice" },
  text = [[
ARG VERSION=1
ARG NAME=v${VERSION}
FROM scratch
COPY base/ /
ENV PATH=/bin
RUN echo "[$VERSION]" > /none
ARG NAME
ARG VERSION=2
ARG FULL=${NAME}-${VERSION}
RUN echo "$NAME $VERSION $FULL" > /some
LABEL name=$FULL
COPY base/etc/group /$NAME/
ARG VERSION=3
ENV KEPT=$VERSION
RUN echo "$VERSION" > /third
]],
  expect = { none = "file 0644 0:0 now 3", ["v1/group"] = "file", ["config.Labels"] = '{"name":"v1-2"}', third = "file 0644 0:0 now 2" },
}

case {
  name = "ARG after ENV of the same name",
  text = "ENV A=env\nARG A=arg\nRUN echo $A > /which\n",
  skip = { which = "in buildah ENV wins, in BuildKit the ARG that comes later" },
  expect = { which = "file 0644 0:0 now 4 ", ["config.Env"] = '["PATH=/bin","A=env"]' },
}

-- Configuration

case {
  name = "LABEL, EXPOSE, VOLUME and STOPSIGNAL forms",
  files = { f = "f" },
  text = [[
ENV V=value
LABEL a=1 b="two words" "quoted key"=x c=$V d='$V'
LABEL legacy some words
LABEL a=again e=line\
continued
EXPOSE 80 443/tcp 53/udp
EXPOSE 80 $PORT 8080
VOLUME /data "/json"
VOLUME ["/a b", "/c"]
STOPSIGNAL SIGQUIT
STOPSIGNAL 9
]],
  expect = { ["config.Volumes"] = "{", ["config.StopSignal"] = '"9"', ["config.ExposedPorts"] = "{" },
}

case {
  name = "EXPOSE of ranges",
  text = "EXPOSE 1-3 90/TCP\n",
  skip = { ["config.ExposedPorts"] = "buildah stores the words as written" },
  expect = { ["config.ExposedPorts"] = '{"1/tcp":{},"2/tcp":{},"3/tcp":{},"90/tcp":{}}' },
}

case {
  name = "files below a VOLUME",
  text = "RUN mkdir /data\nVOLUME /data\nRUN echo x > /data/x\n",
  skip = { ["data/x"] = "buildah discards what RUN writes to a volume" },
  expect = { ["data/x"] = "file" },
}

case {
  name = "ENTRYPOINT and CMD: exec and shell forms, reset of an inherited CMD",
  whole = true,
  text = "FROM scratch AS base\nCOPY base/ /\nENTRYPOINT [\"/bin/echo\", \"a b\"]\nCMD [\"inherited\"]\nFROM base\nENTRYPOINT exec top -b \"$X\"\n",
  expect = { ["config.Entrypoint"] = '["/bin/sh","-c","exec top -b \\"$X\\""]' },
}

case {
  name = "CMD kept before an ENTRYPOINT of the same stage, the last one counts",
  text = "CMD first\nCMD [\"a\", \"b \\\"c\\\"\", \"\\u00fc\"]\nENTRYPOINT [\"/bin/echo\"]\nENTRYPOINT [\"/bin/cat\", \"-\"]\n",
  expect = { ["config.Cmd"] = '["a","b \\"c\\"","ü"]', ["config.Entrypoint"] = '["/bin/cat","-"]' },
}

case { name = "empty ENTRYPOINT and malformed JSON", text = "ENTRYPOINT [\"/bin/x\"]\nENTRYPOINT []\nCMD ['single', 'quotes']\n",
  expect = { ["config.Cmd"] = "[\"/bin/sh\",\"-c\",\"['single', 'quotes']\"]" } }

-- What both refuse

case { name = "a source that is not there", text = "COPY missing /x\n", fails = "COPY missing /x" }

case { name = "a directory onto a file", files = { ["d/f"] = "f" }, text = "COPY d /etc/passwd\n", fails = "COPY d /etc/passwd" }

case { name = "a stage that is not there", text = "COPY --from=7 /x /x\n", fails = "COPY --from=7 /x /x" }

for _, more in ipairs(require "lib.differential_more") do case(more) end

return cases
