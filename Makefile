# bakery: see `make help`. One non-recursive file; all output goes to build/.
VERSION := 0.1.0
CONFIG := $(if $(SANITIZE),sanitize,release)
BUILD ?= build/$(CONFIG)
PREFIX ?= /usr/local
DESTDIR ?=
ifeq ($(origin CC),default)
CC := gcc
endif
V ?=
Q := $(if $(V),,@)
WERROR ?= $(if $(CI),-Werror)

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings \
  -Wundef -Wformat=2 -Wvla $(WERROR)
, := ,
OPT := $(if $(SANITIZE),-O1 -g -fsanitize=address$(,)undefined -fno-omit-frame-pointer \
  -fno-sanitize-recover=undefined,-O2 -g)
LUA_CFLAGS := -I/usr/include/lua5.4
CFLAGS := -std=c17 -D_GNU_SOURCE -fPIC -fvisibility=hidden $(OPT) $(WARNINGS)
CPPFLAGS := -Isrc $(LUA_CFLAGS) -include src/base/banned.h -DBK_VERSION='"$(VERSION)"' -MMD -MP
SANFLAGS := $(if $(SANITIZE),-fsanitize=address$(,)undefined)

# --- what is built from what --------------------------------------------------------------------
# Each native module is src/NAME/; it becomes part of the program and build/so/bakery/NAME.so.
MODULES := archive digest fs http json loop oci process regex sandbox sign snapshot soci store tag \
  template version yaml
# Modules whose cores a module is linked with (house.md: who may include whom), and its libraries.
USES_archive := digest
USES_oci := http json digest
USES_sandbox := process
USES_sign := json
USES_snapshot := archive digest
USES_soci := archive digest
USES_store := digest
MADE_sandbox := $(BUILD)/obj/filters.o
LIBS_archive := -ldeflate -lz -lzstd -ldl
LIBS_digest := -lcrypto
LIBS_http := -ldl
LIBS_oci := -lm
LIBS_json := -ljansson
LIBS_loop := -luv
LIBS_regex := -lpcre2-8
LIBS_sandbox := -lseccomp
LIBS_sign := -lcrypto -lsodium
LIBS_soci := -lz
LIBS_store := -lsqlite3
LIBS_yaml := -lyaml
LIBS_template := -lpcre2-8

# The program takes static archives where Debian has them: it starts in a millisecond and runs on
# machines without the libraries. libcurl, libarchive and ISA-L are opened when first used.
STATIC := -l:libyaml.a -l:libjansson.a -l:libpcre2-8.a -l:libuv_a.a -l:libdeflate.a -l:libzstd.a \
  -l:libz.a -l:libcrypto.a -l:libseccomp.a -l:libsqlite3.a -l:libsodium.a -l:liblua5.4.a
HOST_LIBS := $(STATIC) -lm -ldl -lpthread

srcs = $(wildcard src/$(1)/*.c)
objs = $(patsubst src/%.c,$(BUILD)/obj/%.o,$(filter-out src/$(1)/lua_%,$(call srcs,$(1))))
COMMON_OBJS := $(call objs,base) $(call objs,luakit) $(call objs,loop)
HOST_OBJS := $(sort $(COMMON_OBJS) $(foreach m,$(MODULES) host,$(patsubst src/%.c,$(BUILD)/obj/%.o,$(call srcs,$(m)))))

SHIPPED := $(sort $(shell find lua stdlib recipes resolvers templates -type f ! -name README.md ! -name '.*' 2>/dev/null))

.PHONY: all so clean help deps demo test lint bench peers install fuzz parity
all: build/bakery

build/bakery: $(BUILD)/bakery
	@mkdir -p build && ln -f $< $@ 2>/dev/null || cp -f $< $@

$(BUILD)/bakery: $(HOST_OBJS) $(BUILD)/obj/embedded.o $(MADE_sandbox)
	$(Q)$(CC) $(SANFLAGS) -o $@ $^ $(HOST_LIBS) -Wl,--dynamic-list=src/host/exports.list -Wl,-z,now,-z,relro,--as-needed,--gc-sections

$(BUILD)/obj/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/obj/embedded.o: $(BUILD)/embedded.c
	$(Q)$(CC) -Isrc -O0 -c -o $@ $<

$(BUILD)/embed: src/tools/embed.c src/base/buf.c src/base/mem.c src/base/fs.c src/base/err.c
	@mkdir -p $(@D)
	$(Q)$(CC) -Isrc $(LUA_CFLAGS) -D_GNU_SOURCE -std=c17 -O1 -o $@ $^ -l:liblua5.4.a -lm -ldl

# Re-run whenever the set of shipped files or one of them changes; writes only what differs.
$(BUILD)/embedded.c: $(BUILD)/embed $(SHIPPED) $(BUILD)/shipped.list
	$(BUILD)/embed $@ $(SHIPPED)
	@touch $@
$(BUILD)/shipped.list: FORCE
	@mkdir -p $(@D); echo '$(SHIPPED)' | cmp -s - $@ || echo '$(SHIPPED)' > $@
FORCE:

$(BUILD)/filters: src/tools/filters.c src/sandbox/sandbox_seccomp.c src/base/buf.c src/base/mem.c src/base/fs.c src/base/err.c
	@mkdir -p $(@D)
	$(Q)$(CC) -Isrc -D_GNU_SOURCE -std=c17 -O1 -o $@ $^ -l:libseccomp.a -lpthread
$(BUILD)/filters.c: $(BUILD)/filters
	$(BUILD)/filters $@
$(BUILD)/obj/filters.o: $(BUILD)/filters.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# --- loadable modules for plain lua5.4 -----------------------------------------------------------
so: $(patsubst %,$(BUILD)/so/bakery/%.so,$(MODULES)) ## native modules for plain lua5.4: build/release/so
define SO_RULE
$(BUILD)/so/bakery/$(1).so: $(sort $(COMMON_OBJS) $(patsubst src/%.c,$(BUILD)/obj/%.o,$(call srcs,$(1))) $(foreach u,$(USES_$(1)),$(call objs,$(u)))) $(MADE_$(1))
	@mkdir -p $$(@D)
	$(Q)$(CC) -shared $(SANFLAGS) -o $$@ $$^ $(sort -luv -lpthread $(LIBS_$(1)) $(foreach u,$(USES_$(1)),$(LIBS_$(u))))
endef
$(foreach m,$(MODULES),$(eval $(call SO_RULE,$(m))))

# --- C unit tests (tests/unit/test_NAME.c) and fuzz drivers (tests/fuzz/fuzz_NAME.c) -------------
# One archive of every core and binding, so that each test links only what it names.
$(BUILD)/libbakery.a: $(filter-out $(BUILD)/obj/host/main.o,$(HOST_OBJS)) $(MADE_sandbox)
	@rm -f $@; $(AR) rcs $@ $^

UNIT := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
FUZZ := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
$(BUILD)/unit/%: tests/unit/%.c tests/unit/unit.h $(BUILD)/libbakery.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -Itests $(CFLAGS) -o $@ $< $(BUILD)/libbakery.a $(HOST_LIBS)
$(BUILD)/fuzz/%: tests/fuzz/%.c tests/fuzz/replay.c $(BUILD)/libbakery.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -Itests $(CFLAGS) -o $@ $< tests/fuzz/replay.c $(BUILD)/libbakery.a $(HOST_LIBS)
.PHONY: unit fuzz-replay
unit: $(UNIT)
fuzz-replay: $(FUZZ)

clean: ## remove build/
	rm -rf build

# --- Debian packages ------------------------------------------------------------------------------
BUILD_PACKAGES := gcc make pkg-config libc6-dev liblua5.4-dev libyaml-dev libjansson-dev libpcre2-dev \
  libcurl4-openssl-dev libssl-dev libarchive-dev libdeflate-dev zlib1g-dev libisal-dev libzstd-dev \
  libuv1-dev libsqlite3-dev libsodium-dev libseccomp-dev libcap-dev ca-certificates git
DEMO_PACKAGES := busybox-static
TEST_PACKAGES := lua5.4 lua-busted lua-check lua-filesystem docker-registry skopeo umoci buildah podman \
  crun python3 python3-jinja2 python3-yaml python3-jsonschema mmdebstrap busybox-static uidmap libcap2-bin util-linux \
  apache2-utils openssl procps time attr curl shellcheck man-db bash-completion zsh fish gzip bzip2 \
  xz-utils zstd tar qemu-user-static slirp4netns
FUZZ_PACKAGES := clang llvm libclang-rt-14-dev

# Installs what is missing; silent and offline when nothing is.
define install_packages
@missing=""; for p in $(1); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' \
  || missing="$$missing $$p"; done; \
if [ -n "$$missing" ]; then echo "installing:$$missing"; \
  if [ "$$(id -u)" != 0 ]; then echo "needs root: apt-get install$$missing" >&2; exit 1; fi; \
  { apt-get install -y --no-install-recommends $$missing >/dev/null 2>&1 || { apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $$missing; }; } >&2; fi
endef

deps: ## install every Debian package needed (build, demo and tests)
	$(call install_packages,$(BUILD_PACKAGES) $(DEMO_PACKAGES) $(TEST_PACKAGES))
.PHONY: deps-build
deps-build:
	$(call install_packages,$(BUILD_PACKAGES) $(DEMO_PACKAGES))

# --- the two commands of the README ---------------------------------------------------------------
demo: deps-build ## install what is needed, build bakery, build and check the example's images
	@$(MAKE) -s build/bakery
	@sh examples/quickstart/demo.sh build/bakery

# LUA_PATH for busted under the program's own interpreter.
RUN_TESTS = BUILD=$(BUILD) $(if $(SANITIZE),SANITIZE=1) $(BUILD)/bakery lua tests/run.lua
test: deps ## install what is needed and run all tests (SANITIZE=1: under ASan and UBSan)
	@$(MAKE) -s $(BUILD)/bakery $(if $(SANITIZE),,build/bakery) unit fuzz-replay $(if $(SANITIZE),,so)
	@LUA_PATH="$(CURDIR)/tests/?.lua;/usr/share/lua/5.4/?.lua;/usr/share/lua/5.4/?/init.lua" \
	  LUA_CPATH="/usr/lib/$$(gcc -print-multiarch)/lua/5.4/?.so" $(RUN_TESTS) $(T)

lint: deps ## warnings as errors, include arrows, sizes, stubs, luacheck, shellcheck
	@BUILD=build/lint MAKE="$(MAKE)" sh tests/lint/run.sh

bench: deps ## our figures beside a peer's, same machine, same run
	@$(MAKE) -s build/bakery
	@build/bakery lua tests/bench/run.lua $(B)

peers: ## Go programs that Debian lacks (crane, regctl, oras, goss …) into build/peers
	@sh tests/peers.sh build/peers

parity: ## plans, files and validation beside the reference's, from PyPI
	@$(MAKE) -s build/bakery
	@build/bakery lua tests/parity/run.lua build/parity
	@build/bakery lua tests/parity/lookups.lua build/parity

fuzz: deps-build ## libFuzzer on every parser, FUZZ_SECONDS each (20)
	$(call install_packages,$(FUZZ_PACKAGES))
	@sh tests/fuzz/run.sh $(or $(FUZZ_SECONDS),20)

# --- installation ---------------------------------------------------------------------------------
SHARE := $(DESTDIR)$(PREFIX)/share
install: build/bakery ## PREFIX= DESTDIR=: program, man page, completions, recipes, resolvers and templates to read
	install -D -m 755 build/bakery $(DESTDIR)$(PREFIX)/bin/bakery
	mkdir -p $(SHARE)/man/man1 $(SHARE)/bash-completion/completions $(SHARE)/zsh/vendor-completions \
	  $(SHARE)/fish/vendor_completions.d $(SHARE)/bakery
	build/bakery man > $(SHARE)/man/man1/bakery.1
	build/bakery completion bash > $(SHARE)/bash-completion/completions/bakery
	build/bakery completion zsh > $(SHARE)/zsh/vendor-completions/_bakery
	build/bakery completion fish > $(SHARE)/fish/vendor_completions.d/bakery.fish
	cp -r recipes resolvers templates stdlib $(SHARE)/bakery/

help: ## this list
	@echo "  make            build the program: build/bakery"
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | sort | while IFS="$$(printf '\t')" read -r t d; do \
	  printf '  make %-10s %s\n' "$$t" "$$d"; done

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
