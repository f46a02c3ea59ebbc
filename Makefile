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
MODULES := archive digest fs http json loop oci process regex sandbox snapshot store tag template \
  version yaml
# Modules whose cores a module is linked with (house.md: who may include whom), and its libraries.
USES_archive := digest
USES_oci := http json digest archive
USES_snapshot := archive digest
USES_store := digest
LIBS_archive := -ldeflate -lz -lzstd -lisal -ldl
LIBS_digest := -lcrypto
LIBS_http := -ldl
LIBS_json := -ljansson
LIBS_loop := -luv
LIBS_regex := -lpcre2-8
LIBS_sandbox := -lseccomp -lcap
LIBS_store := -lsqlite3
LIBS_yaml := -lyaml
LIBS_template := -lpcre2-8

# The program takes static archives where Debian has them: it starts in a millisecond and runs on
# machines without the libraries. libcurl and libarchive are opened when first used.
STATIC := -l:libyaml.a -l:libjansson.a -l:libpcre2-8.a -l:libuv_a.a -l:libdeflate.a -l:libzstd.a \
  -l:libz.a -l:libcrypto.a -l:libseccomp.a -l:libcap.a -l:libsqlite3.a -l:liblua5.4.a
HOST_LIBS := $(STATIC) -lisal -lm -ldl -lpthread

srcs = $(wildcard src/$(1)/*.c)
objs = $(patsubst src/%.c,$(BUILD)/obj/%.o,$(filter-out %/lua_$(1).c,$(call srcs,$(1))))
COMMON_OBJS := $(call objs,base) $(call objs,luakit) $(call objs,loop)
HOST_OBJS := $(sort $(COMMON_OBJS) $(foreach m,$(MODULES) host,$(patsubst src/%.c,$(BUILD)/obj/%.o,$(call srcs,$(m)))))

SHIPPED := $(sort $(shell find lua stdlib recipes templates -type f ! -name README.md ! -name '.*' 2>/dev/null))

.PHONY: all so clean help deps demo test lint bench peers install fuzz parity
all: build/bakery

build/bakery: $(BUILD)/bakery
	@mkdir -p build && ln -f $< $@ 2>/dev/null || cp -f $< $@

$(BUILD)/bakery: $(HOST_OBJS) $(BUILD)/obj/embedded.o
	$(Q)$(CC) $(SANFLAGS) -o $@ $^ $(HOST_LIBS) -Wl,--dynamic-list=src/host/exports.list -Wl,-z,now,-z,relro,--as-needed,--gc-sections

$(BUILD)/obj/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/obj/embedded.o: $(BUILD)/embedded.c
	$(Q)$(CC) -Isrc -O0 -c -o $@ $<

$(BUILD)/embed: src/tools/embed.c src/base/buf.c src/base/mem.c src/base/fs.c src/base/err.c
	@mkdir -p $(@D)
	$(Q)$(CC) -Isrc -D_GNU_SOURCE -std=c17 -O1 -o $@ $^

# Re-run whenever the set of shipped files or one of them changes; writes only what differs.
$(BUILD)/embedded.c: $(BUILD)/embed $(SHIPPED) $(BUILD)/shipped.list
	$(BUILD)/embed $@ $(SHIPPED)
	@touch $@
$(BUILD)/shipped.list: FORCE
	@mkdir -p $(@D); echo '$(SHIPPED)' | cmp -s - $@ || echo '$(SHIPPED)' > $@
FORCE:

# --- loadable modules for plain lua5.4 -----------------------------------------------------------
so: $(patsubst %,$(BUILD)/so/bakery/%.so,$(MODULES))
define SO_RULE
$(BUILD)/so/bakery/$(1).so: $(sort $(COMMON_OBJS) $(patsubst src/%.c,$(BUILD)/obj/%.o,$(call srcs,$(1))) $(foreach u,$(USES_$(1)),$(call objs,$(u))))
	@mkdir -p $$(@D)
	$(Q)$(CC) -shared $(SANFLAGS) -o $$@ $$^ $(sort -luv -lpthread $(LIBS_$(1)) $(foreach u,$(USES_$(1)),$(LIBS_$(u))))
endef
$(foreach m,$(MODULES),$(eval $(call SO_RULE,$(m))))

# --- C unit tests (tests/unit/test_NAME.c) and fuzz drivers (tests/fuzz/fuzz_NAME.c) -------------
# One archive of every core and binding, so that each test links only what it names.
$(BUILD)/libbakery.a: $(filter-out $(BUILD)/obj/host/main.o,$(HOST_OBJS))
	@rm -f $@; $(AR) rcs $@ $^

UNIT := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
FUZZ := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
$(BUILD)/unit/%: tests/unit/%.c tests/unit/unit.h $(BUILD)/libbakery.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -Itests $(CFLAGS) -o $@ $< $(BUILD)/libbakery.a $(HOST_LIBS)
$(BUILD)/fuzz/%: tests/fuzz/%.c tests/fuzz/replay.c $(BUILD)/libbakery.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -Itests $(CFLAGS) -o $@ $< tests/fuzz/replay.c $(BUILD)/libbakery.a $(HOST_LIBS)
unit: $(UNIT)
fuzz-replay: $(FUZZ)

clean:
	rm -rf build

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
