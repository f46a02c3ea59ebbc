--- More cases of the differential suite: mounts, triggers, configuration, odd files, odd syntax. The fields
--- are described in lib/differential.lua.
local world = require "lib.world"

local function sh(dir, script) world.run({ "sh", "-ec", script }, { cwd = dir }) end

local cases = {}
local function case(t) cases[#cases + 1] = t end

-- RUN mounts

case {
  name = "mounts: bind from context and stage, tmpfs, cache; nothing of them in the image",
  whole = true,
  files = { ["d/x"] = "x", ["d/sub/y"] = "y" },
  tweak = function(dir) sh(dir, "chmod 750 d/sub; ln -s x d/l") end,
  text = [[
FROM scratch AS sys
COPY base/ /
ENV PATH=/bin
FROM sys AS made
RUN mkdir -p /out/deep && echo made > /out/deep/f && chown 5:6 /out/deep/f && chmod 4711 /out/deep/f
FROM sys
RUN --mount=type=bind,source=d,target=/mnt cp -a /mnt/sub /sub && readlink /mnt/l > /link
RUN --mount=type=bind,source=d,target=/mnt,rw echo more > /mnt/x && cat /mnt/x > /seen
RUN --mount=type=bind,source=d,target=/mnt cat /mnt/x > /unchanged
RUN --mount=type=bind,from=made,source=/out,target=/mnt stat -c '%a %u:%g' /mnt/deep/f > /stat
RUN --mount=type=tmpfs,target=/t echo x > /t/x && ls /t > /listed
RUN --mount=type=cache,target=/c,id=differential echo kept > /c/f && cat /c/f > /cached
RUN ls -d /mnt /t /c > /left 2>/dev/null || true
]],
  expect = { ["sub/y"] = "file", sub = "dir 0750 0:0", seen = "file 0644 0:0 now 5 ", unchanged = "file 0644 0:0 now 1 ", stat = "file",
    cached = "file", left = "file 0644 0:0 now 0", mnt = false, t = false, c = false },
  skip = { unchanged = "buildah writes to the context" },
  kit = { left = "20.10 leaves empty mount points", mnt = "the same", t = "the same", c = "the same" },
}

case {
  name = "mounts: onto what is there already, below the working directory, a single file",
  files = { f = "file", ["d/x"] = "x" },
  text = [[
RUN mkdir -p /have/sub && echo kept > /have/kept && echo under > /under
WORKDIR /work
RUN --mount=type=bind,source=d,target=/have ls /have > /in1; true
RUN --mount=type=bind,source=f,target=/under cat /under > /in2
RUN --mount=type=bind,source=f,target=rel cat rel > /in3
RUN --mount=source=d ls > /in4
]],
  skip = { ["work/rel"] = "buildah leaves the mount point" },
  kit = { ["work/rel"] = "20.10 leaves the mount point" },
  old = "20.10 wants a target",
  only = "buildah wants a target",
  expect = { ["have/kept"] = "file", under = "file 0644 0:0 now 6 ", in1 = "file", in2 = "file", in3 = "file", in4 = "file", ["work/rel"] = false },
}

-- ONBUILD

case {
  name = "ONBUILD: triggers run in the child, in order, once",
  whole = true,
  format = "docker",
  files = { f = "f" },
  text = [[
FROM scratch AS parent
COPY base/ /
ENV PATH=/bin
ONBUILD ENV FROM_PARENT=yes
ONBUILD COPY f /triggered/f
ONBUILD RUN echo "$FROM_PARENT" > /order && echo one >> /order
ONBUILD WORKDIR /w
ONBUILD USER app
FROM parent AS child
RUN id -u > /tmp/user; pwd > /tmp/where
FROM child
LABEL last=1
]],
  old = "20.10 runs them only for images, not for stages",
  only = "buildah runs them only for images, not for stages",
  expect = { ["triggered/f"] = "file", order = "file 0644 0:0 now 8", ["tmp/user"] = "file 0644 1000:1001 now 5",
    ["config.User"] = '"app"', ["config.WorkingDir"] = '"/w"', ["config.OnBuild"] = nil },
}

case {
  name = "ONBUILD: stored with all its text",
  format = "docker",
  skip = { history = "buildah tells of ONBUILD" },
  text = "ONBUILD RUN echo a \\\n  b\nONBUILD COPY [\"a b\", \"/x/\"]\nONBUILD HEALTHCHECK --interval=3s CMD true\n",
  expect = { ["config.OnBuild"] = '["RUN echo a   b","COPY [\\"a b\\", \\"/x/\\"]","HEALTHCHECK --interval=3s CMD true"]' },
}

-- Configuration

case {
  name = "HEALTHCHECK forms, the last one counts",
  format = "docker",
  text = "HEALTHCHECK CMD first\nHEALTHCHECK --interval=1m30s --timeout=500ms --start-period=2h --retries=4 CMD [\"/bin/true\", \"a b\"]\n",
  expect = { ["config.Healthcheck"] = '{"Interval":90000000000,"Retries":4,"StartPeriod":7200000000000,"Test":["CMD","/bin/true","a b"],"Timeout":500000000}' },
}

case { name = "HEALTHCHECK in shell form, and NONE of an inherited one", format = "docker", whole = true,
  text = "FROM scratch AS a\nCOPY base/ /\nHEALTHCHECK --retries=2 CMD test -e /x && true\nFROM a AS b\nLABEL x=y\nFROM b\nHEALTHCHECK NONE\n",
  expect = { ["config.Healthcheck"] = '{"Test":["NONE"]}' } }

case { name = "MAINTAINER, and a LABEL on several lines", text = "MAINTAINER Some One <a@b.c>\nLABEL a=1 \\\n  # comment\n  b=2 \\\n  c=\"x y\"\n",
  expect = { ["config.author"] = "Some One <a@b.c>", ["config.Labels"] = '{"a":"1","b":"2","c":"x y"}' } }

case {
  name = "configuration through three stages: inherited, changed, kept apart",
  whole = true,
  text = [[
FROM scratch AS one
COPY base/ /
ENV PATH=/bin A=1 B=2
LABEL l=one m=one
EXPOSE 1/tcp
VOLUME /v1
WORKDIR /one
USER app
ENTRYPOINT ["/bin/echo"]
CMD ["one"]
STOPSIGNAL SIGINT
FROM one AS two
ENV A=3
LABEL m=two n=two
EXPOSE 2/udp
VOLUME /v2
CMD ["two"]
FROM two
USER root
WORKDIR sub
]],
  skip = { ["config.Env"] = "buildah moves a changed variable to the end" },
  expect = { ["config.Env"] = '["PATH=/bin","A=3","B=2"]', ["config.Cmd"] = '["two"]', ["config.WorkingDir"] = '"/one/sub"',
    ["config.ExposedPorts"] = '{"1/tcp":{},"2/udp":{}}', ["config.Volumes"] = '{"/v1":{},"/v2":{}}' },
}

case { name = "CMD and ENTRYPOINT cleared by a new ENTRYPOINT, in exec and shell form", whole = true,
  text = "FROM scratch AS a\nCOPY base/ /\nCMD [\"x\"]\nENTRYPOINT echo hi\nFROM a AS b\nENTRYPOINT [\"/bin/y\"]\nFROM b\nCMD z $HOME\n",
  expect = { ["config.Cmd"] = '["/bin/sh","-c","z $HOME"]', ["config.Entrypoint"] = '["/bin/y"]' } }

case {
  name = "WORKDIR below users by number, by names that are not there, before there is an /etc/passwd",
  whole = true,
  text = [[
FROM scratch
USER root
WORKDIR /none
COPY base/ /
ENV PATH=/bin
USER 1000
WORKDIR /number
USER app:1
WORKDIR /group
USER nosuch
WORKDIR /unknown
USER app:nosuch
WORKDIR /half
USER app
]],
  skip = { half = "buildah gives up on both" },
  expect = { none = "dir 0755 0:0", number = "dir 0755 1000:1000", group = "dir 0755 1000:1", unknown = "dir 0755 0:0",
    half = "dir 0755 1000:1001" },
}

-- Files out of the ordinary

case {
  name = "extended attributes and file capabilities of RUN, of the context, between stages",
  whole = true,
  files = { cap = "#!/bin/sh\n", plain = "p", ["t/user"] = "u" },
  tweak = function(dir) sh(dir, "setcap cap_net_bind_service+ep cap; setfattr -n user.note -v text t/user || true; cp $(command -v setcap) base/bin/") end,
  text = [[
FROM scratch AS a
COPY base/ /
ENV PATH=/bin
COPY cap plain /
COPY t /t
FROM scratch
COPY --from=a /cap /kept
COPY --from=a /plain /plain
]],
  kit = { kept = "the transfer of a context leaves extended attributes out" },
  expect = { plain = "file 0644 0:0 1600000000 1 " },
}

case {
  name = "special files, deep and long names, many links, from one stage to another",
  whole = true,
  text = [[
FROM scratch AS a
COPY base/ /
ENV PATH=/bin
RUN mkdir /s && cd /s && mknod fifo p && mknod null c 1 3 && mknod blk b 7 0 && chmod 600 null && chown 9:9 blk && ln -s / root
RUN cd /s && echo x > one && for i in 1 2 3 4 5; do ln one link$i; done && touch -d '1999-12-31 23:59:59' one
RUN cd /s && n=$(printf 'd%.0s' $(seq 60)) && mkdir -p $n/$n/$n/$n && echo deep > $n/$n/$n/$n/file && ln -s $n/$n/$n/$n/file short
RUN cd /s && mkdir sticky && chmod 1777 sticky && mkdir setgid && chmod 2755 setgid && touch setgid/f && chmod 0 setgid/f
FROM scratch
COPY --from=a /s /s
COPY --from=a /s/one /s/link1 /picked/
]],
  kit = { ["s/null"] = "20.10 makes files of devices", ["s/blk"] = "the same", ["s/fifo"] = "and nothing of fifos" },
  expect = { ["s/fifo"] = "fifo", ["s/null"] = "char 0600 0:0", ["s/blk"] = "block 0644 9:9", ["s/link5"] = "file", ["s/sticky"] = "dir 1777",
    ["s/setgid/f"] = "file 0000" },
}

case {
  name = "whiteouts: deletions under opaque, recreated and moved directories",
  files = { ["t/a/1"] = "1", ["t/a/2"] = "2", ["t/b/c/d/e"] = "e", ["t/b/f"] = "f", ["t/g"] = "g" },
  text = [[
COPY t /t
RUN rm -r /t/a && mkdir -m 700 /t/a && echo 3 > /t/a/3
RUN rm -r /t/a/3 /t/b/c/d && mkdir -p /t/b/c/d && touch /t/b/c/d/n
RUN mv /t/b /t/moved && mkdir /t/b && ln -s ../moved /t/b/back
RUN rm -r /t/moved/c && rm /t/b/back && cp -a /t/g /t/b/g && rm /t/g
COPY t/a /t/a
RUN rm -rf /t/a /t/b && mkdir -p /t/a/2 && rmdir /t/a/2 && touch /t/a/2
]],
  expect = { ["t/a"] = "dir 0755", ["t/a/2"] = "file", ["t/a/1"] = false, ["t/b"] = false, ["t/moved/f"] = "file", ["t/moved/c"] = false,
    ["t/g"] = false },
}

case {
  name = "ADD of archives with special files, absolute and dotted names, several in a row",
  tweak = function(dir)
    sh(dir, [[
mkdir -p t/dev t/s && mkfifo t/s/fifo && mknod t/dev/null c 1 3 && chmod 666 t/dev/null && echo a > t/s/a && ln t/s/a t/s/b
ln -s /etc/passwd t/s/abs && chown -hR 7:8 t && chmod 4755 t/s/a && chmod 2750 t/s && touch -h -d @1500000001 t/s/* t/dev/* t/s t/dev
cd t && tar -cf ../one.tar ./dev ./s && tar -cJf ../two.txz s/a s/b && tar -cPf ../abs.tar --transform 's,^,/,' s/a && cd .. && rm -r t]])
  end,
  text = "ADD one.tar /x/\nADD two.txz abs.tar /y/\nADD --chown=1:2 two.txz /z/\n",
  only = "buildah refuses devices in chroot isolation on some hosts",
  kit = { ["z/s/a"] = "20.10 does not give --chown to what it unpacks", ["z/s/b"] = "the same", ["z/s"] = "the same" },
  expect = { ["x/dev/null"] = "char 0666 7:8", ["x/s/fifo"] = "fifo", ["x/s/a"] = "file 4755 7:8 1500000001", ["x/s"] = "dir 2750 7:8",
    ["y/s/a"] = "file 4755 7:8" },
}

case {
  name = "COPY of trees over each other with links, types and modes that differ",
  files = { ["a/f"] = "f", ["a/d/x"] = "x", ["b/f"] = "other", ["b/d/y"] = "y", ["c/d/z"] = "z" },
  tweak = function(dir) sh(dir, "chmod 700 b/d; ln -s f a/l; echo not a link > b/l; ln -s ../outside a/o; ln -s d/y b/o; chmod 640 c/d/z; ln b/f b/hard") end,
  text = "COPY a b /m/\nCOPY c /m\nCOPY a/l /m/l\nCOPY b/f /m/d/x\n",
  expect = { ["m/f"] = "file 0644 0:0 1600000000 5 ", ["m/d"] = "dir 0755", ["m/l"] = "file 0644 0:0 1600000000 1 ", ["m/o"] = "symlink",
    ["m/d/x"] = "file 0644 0:0 1600000000 5 ", ["m/d/z"] = "file 0640" },
}

-- Syntax

case {
  name = "escape directive, odd spacing and case, comments everywhere",
  only = "buildah's words know the backslash alone",
  whole = true,
  text = "# escape=`\n# a comment\nfRoM scratch as one\n  copy base/ /\n\tENV PATH=/bin `\n\n  # inside\n  X=a`$b Y=c\\d\n"
    .. "run echo \"a\" `\n  > /a `\n#no\n  && echo b > /b\nLABEL \"k `\"x\"='v'\nRUN echo \\ > /backslash\n",
  expect = { a = "file 0644 0:0 now 2", b = "file", ["config.Env"] = '["PATH=/bin","X=a$b","Y=c\\\\d"]' },
}

case {
  name = "variables in every field that takes them",
  files = { ["src/one"] = "1", ["src/two"] = "2" },
  text = [[
ARG DIR=src WHO=app MODE=750 PORT=8080
ENV DEST=/dest SIG=SIGUSR1 VOL=/vol USERNAME=app KEY=k
COPY --chown=${WHO} $DIR/one ${DEST}/
ADD --chmod=${MODE} ${DIR}/t* "$DEST/add/"
WORKDIR $DEST/${DIR}
EXPOSE $PORT ${MODE}/udp
VOLUME ${VOL} $VOL/two
LABEL ${KEY}1=$PORT "$KEY two"="${DIR} x"
STOPSIGNAL $SIG
USER ${USERNAME:-root}:${GROUPNAME:-staff}
RUN echo "$DIR ${PORT}" > /tmp/out
]],
  kit = { ["dest/add/two"] = "20.10 expands no variable in --chmod" },
  old = "20.10 expands no variable in --chmod",
  only = "buildah 1.28 expands no variable in --chmod",
  expect = { ["dest/one"] = "file 0644 1000:1001", ["dest/add/two"] = "file 0750", ["config.WorkingDir"] = '"/dest/src"', ["config.User"] = '"app:staff"',
    ["config.ExposedPorts"] = '{"750/udp":{},"8080/tcp":{}}' },
}

case {
  name = "build arguments: given, defaults, unset, platform ones",
  args = { "--build-arg", "GIVEN=cmd line", "--build-arg", "TOP=top" },
  docker_args = { "--build-arg", "GIVEN=cmd line", "--build-arg", "TOP=top", "--platform", "linux/amd64" },
  whole = true,
  text = [[
ARG TOP=default
ARG BASE=scratch
FROM ${BASE} AS x
COPY base/ /
ENV PATH=/bin
ARG GIVEN=default UNSET
ARG TOP
ARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM BUILDARCH
RUN echo "$GIVEN|$UNSET|$TOP|$TARGETPLATFORM|$TARGETOS|$TARGETARCH|$TARGETVARIANT|$BUILDARCH" > /args
RUN env | grep -v -e HOSTNAME -e OTEL -e TRACEPARENT -e BUILDAH -e container | sort > /env
]],
  only = "buildah is given no arguments here",
  old = "20.10 takes one name per ARG",
  expect = { args = "file 0644 0:0 now 45" },
}

case {
  name = "COPY --link stands alone",
  only = "buildah 1.28 does not know it",
  old = "20.10 does not know it",
  files = { f = "f", ["d/x"] = "x" },
  tweak = function(dir) sh(dir, "mkdir -p tree && ln -s etc tree/link && mkdir -m 700 tree/shut") end,
  text = "COPY tree /\nCOPY --link f /shut/f\nCOPY --link --chown=app d /link/deep/\nCOPY --link --chmod=600 f /etc/passwd\n",
  expect = { ["shut/f"] = "file", shut = "dir 0755 0:0", ["link/deep/x"] = "file 0644 1000:1001", ["etc/passwd"] = "file 0600" },
}

case {
  name = "COPY --exclude, --chmod in symbols",
  only = "buildah 1.28 does not know them",
  old = "20.10 does not know them",
  files = { ["d/a.txt"] = "a", ["d/b.md"] = "b", ["d/sub/c.txt"] = "c", ["d/sub/d.md"] = "d", ["d/keep/e.txt"] = "e" },
  text = [[
COPY --exclude=*.txt d /one/
COPY --exclude=**/*.txt --exclude=!keep/e.txt d /two/
COPY --chmod=u+x,go-r d /three/
COPY --chmod=a=rX d /four/
ADD --exclude=sub d /five/
]],
  expect = { ["one/a.txt"] = false, ["one/sub/c.txt"] = "file", ["two/sub/c.txt"] = false, ["two/keep/e.txt"] = "file", ["three/a.txt"] = "file 0700",
    ["three/sub"] = "dir 0711", ["four/a.txt"] = "file 0444", ["four/sub"] = "dir 0555", ["five/sub"] = false, ["five/a.txt"] = "file" },
}

-- What the suites of buildah and kaniko try

case {
  name = "links to links: out of directories, to the root, through others, matched ones",
  whole = true,
  tweak = function(dir)
    sh(dir, [[mkdir in far; echo one > far/one; echo end > end; ln -s ../ far/up; ln -s ../../../ far/out; ln -s ../end far/two
      ln -s /far/up/end in/a; ln -s /far/out/end in/b; ln -s /far/one in/m1; ln -s /far/two in/m2; ln -s in alias]])
  end,
  text = [[
FROM scratch
COPY in/a /a
COPY in/b /b
COPY in/m* /c/
COPY alias/m1 /d
COPY alia* /e/
COPY alias/m* /f/
]],
  old = "20.10 does not find what a link climbs out to",
  expect = { a = "file", b = "file", ["c/m2"] = "file", d = "file", ["e/m1"] = "symlink" },
}

case {
  name = "ADD of archives through links and wildcards",
  tweak = function(dir)
    sh(dir, [[mkdir -p t/in sub; echo x > t/in/x; touch -d @1600000000 t/in t/in/x; tar -C t -cf real.tar in; tar -C t -czf real.tgz in; rm -r t
      ln -s real.tar now.tar; ln -s ../real.tgz sub/now.tgz; ln -s sub alias]])
  end,
  text = "ADD now.tar /a/\nADD sub/now.tgz /b/\nADD alias/now.tgz /c\nADD no?.tar /d/\nCOPY now.tar /e/\n",
  expect = { ["a/in/x"] = "file", ["c/in/x"] = "file", ["d/in/x"] = "file", ["e/now.tar"] = "file" },
}

case {
  name = "ADD of archives over what is of another type",
  tweak = function(dir)
    sh(dir, [[mkdir -p t/one; touch t/one/x; tar -C t -cf dir.tar one; rm -r t/*; echo f > t/two; ln -s /etc t/three; tar -C t -cf flat.tar two three
      rm -r t]])
  end,
  text = "RUN touch one && mkdir -p two/y three && echo x > two/x\nADD dir.tar /\nADD flat.tar /\n",
  expect = { ["one/x"] = "file", two = "file", ["two/x"] = false, three = "symlink" },
}

case { name = "a directory over a symlink to one", whole = true, files = { ["a/real/f"] = "1", ["b/dir/f"] = "2" },
  tweak = function(dir) sh(dir, "ln -s real a/dir") end, only = "buildah replaces the symlink",
  text = "FROM scratch\nCOPY a /\nCOPY b /\n", fails = "COPY b /" }

case { name = "a symlink over a directory", whole = true, files = { ["a/real/f"] = "1", ["b/dir/f"] = "2" },
  tweak = function(dir) sh(dir, "ln -s real a/dir") end, only = "buildah replaces the directory",
  text = "FROM scratch\nCOPY b /\nCOPY a /\n", fails = "COPY a /" }

case { name = "the same tree twice, with symlinks in it", whole = true, files = { ["t/f"] = "f", ["t/sub/x/g"] = "g" },
  tweak = function(dir) sh(dir, "ln -s f t/l; ln -s x t/sub/y") end, text = "FROM scratch\nCOPY t/ ./\nCOPY t/ ./\n",
  expect = { l = "symlink", ["sub/y"] = "symlink", ["sub/x/g"] = "file" } }

case {
  name = "an ignore file that lets in and leaves out by turns",
  files = { [".dockerignore"] = "**\n!base\n!1\n1/2\n!1/2/3\n1/2/3/4\n!1/2/3/4/in\n", ["1/2/3/4/in"] = "in", ["1/2/3/4/out"] = "out", ["1/2/x"] = "x",
    ["1/y"] = "y" },
  text = "COPY . /all\nCOPY 1 /one\nCOPY 1/2 /two\nCOPY 1/2/3/4 /four\nCOPY 1/2/3/4/in /file\n",
  expect = { ["all/1/2/3/4/in"] = "file", ["all/1/2/3/4/out"] = false, ["all/1/2/x"] = false, ["one/y"] = "file", ["four/in"] = "file", file = "file" },
}

case {
  name = "an ignore file that leaves nothing of a directory, and one of many below it",
  files = { [".dockerignore"] = "big/*\n!big/usr/bin/*\nempty/*\n", ["big/usr/bin/tool"] = "t", ["big/usr/doc"] = "d", ["empty/x"] = "x", ["other/f"] = "f" },
  text = "COPY big /big\nCOPY big/usr/bin /bin2\nCOPY empty /empty/\nCOPY [be]* /both/\n",
  expect = { ["big/usr/bin/tool"] = "file", ["big/usr/doc"] = false, ["bin2/tool"] = "file", ["both/usr/bin/tool"] = "file" },
}

case {
  name = "wildcards with escapes, which words lose, in classes, and doubled stars",
  only = "buildah 1.28 knows no [[]",
  files = { ["w/[x]/f"] = "1", ["w/[x]/[y]/f"] = "2", ["w/n?"] = "3", ["w/no"] = "4", ["w/s*r"] = "5", ["w/star"] = "6", ["g/a/1.t"] = "7", ["g/b/c/2.t"] = "8",
    ["3.t"] = "9" },
  text = [[
COPY w/[[]x]/f /a
COPY ./w/[[]x]/[[]y]/f /b/
COPY w/n\? /c
COPY w/s\*r /d
COPY ["w/n?", "/e/"]
COPY w/* /f/
COPY **/*.t /g/
COPY g/**/*/*.t /h/
COPY **.t /i/
COPY g/** /j/
]],
  expect = { c = "file", ["e/no"] = "file", ["g/1.t"] = false, ["h/2.t"] = "file", ["i/3.t"] = "file", ["j/1.t"] = "file" },
}

case {
  name = "a working directory below a symlink to nothing, and copies into it",
  files = { f = "f", ["d/g"] = "g" },
  text = [[
RUN mkdir -p /var/lib && ln -s /var/lib/made /link && ln -s /there /dest && ln -s /place /one
WORKDIR /link/below
COPY f ./f1
COPY f /link/f2
COPY d /dest/
COPY d/g /one/
ADD f /one/../f3
RUN pwd > /where
]],
  expect = { ["var/lib/made/below/f1"] = "file", ["var/lib/made/f2"] = "file", ["there/g"] = "file", ["place/g"] = "file", f3 = "file" },
}

case { name = "two stages of one name: the later one counts", whole = true, files = { a = "a", b = "b" },
  text = "FROM scratch AS s\nCOPY a /f\nLABEL from=first\nFROM scratch AS s\nCOPY b /f\nLABEL from=second\nFROM s\nCOPY --from=s /f /g\nCOPY --from=0 /f /h\n",
  only = "buildah takes now the one, now the other", expect = { ["config.Labels"] = '{"from":"second"}' } }

case {
  name = "hard links of a stage; a stage that another changed stays as it was",
  whole = true,
  text = [[
FROM scratch AS made
COPY base/ /
ENV PATH=/bin
RUN mkdir -p /t/s && echo x > /t/f && ln /t/f /t/s/g && ln /t/f /t/s/h
FROM made AS other
RUN --mount=from=made,target=/m,rw echo more > /m/t/f && echo new > /m/new
FROM made
COPY --from=made /t/s /s
COPY --from=other /t /u
RUN --mount=from=other,source=/t,target=/m cat /m/f > /seen
]],
  skip = { ["s/g"] = "buildah writes to the stage", ["s/h"] = "the same" }, unsteady = true, -- not where it has the stage already
  kit = { m = "20.10 leaves empty mount points" },
  expect = { ["u/f"] = "file 0644 0:0 now 2 ", ["s/g"] = "file 0644 0:0 now 2 ", seen = "file 0644 0:0 now 2 ", new = false },
}

case {
  name = "ENV quotes, old form, values of the line before",
  text = [[
ENV a a b  c
ENV b="x=y z=1 w=2"
ENV a new
ENV c=foo d=foo2
ENV e $d:/e
ENV f="J D" g=R\ T\ D \
    h=fl
ENV i="'q'w'" j='"q"w' k=a\ b l=c\ d
ENV m="a\"b" n="a\'b" o='a\"b' p="''"
ENV c=two q=$c r=$none/x
LABEL one two
LABEL "three"="four" five=$d "six $c"=x
]],
}

case {
  name = "heredocs at other descriptors, in pipes, several commands",
  old = "20.10 knows no heredocs",
  text = [==[
RUN cat /proc/self/fd/5 /proc/self/fd/6 5<<A 6<<B > /one
a
A
b
B
RUN 5<<a cat /proc/self/fd/5 /proc/self/fd/6 6<<A | cat /dev/stdin /proc/self/fd/6 6<<b > /two
c
a
d
A
e
b
RUN <<A cat > /three && echo g > /four
f
A
RUN cat /one /two /three /four | tr -d '\n' > /all
]==],
  only = "buildah 1.28 knows no heredocs",
  expect = { all = "file 0644 0:0 now 7 " },
}

return cases
