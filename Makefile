# moonlb: `make help` lists the targets.
VERSION := 0.1.0
SHELL := /bin/sh

# Where things are built. SANITIZE=1 adds ASan and UBSan and keeps its objects apart. V=1 shows the commands.
SANITIZE ?=
BUILD ?= build$(if $(SANITIZE),/sanitize)
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
Q := $(if $(V),,@)

TRIPLET_arm64 := aarch64-linux-gnu
# ARCH=arm64 builds for another machine: Debian's cross compiler, and that machine's libraries in a folder.
ARCH ?=
ifneq ($(ARCH),)
TRIPLET := $(or $(TRIPLET_$(ARCH)),$(error ARCH=$(ARCH): arm64 expected, or nothing for this machine))
BUILD := build/$(ARCH)
SYSROOT := $(abspath build/$(ARCH)-sysroot)
CC := $(TRIPLET)-gcc --sysroot=$(SYSROOT)
PKG_CONFIG := PKG_CONFIG_SYSROOT_DIR=$(SYSROOT) PKG_CONFIG_LIBDIR=$(SYSROOT)/usr/lib/$(TRIPLET)/pkgconfig pkg-config
endif
PKG_CONFIG ?= pkg-config

LUA_SHARE := /usr/share/lua/5.4
STATIC_PACKAGES := lua5.4 lua5.4-cjson lua5.4-luv
DYNAMIC_PACKAGES := libcurl libmnl miniupnpc libmicrohttpd libedit libseccomp libcrypto

# The shell runs pkg-config only when something is compiled: `make deps` must work before it is installed.
PACKAGE_CFLAGS = $(patsubst -I%,-isystem%,$(shell $(PKG_CONFIG) --cflags $(STATIC_PACKAGES) libuv $(DYNAMIC_PACKAGES)))
LIBDIR = $(shell $(PKG_CONFIG) --variable=libdir libuv)
LIBS = -l:liblua5.4-luv.a -l:liblua5.4-cjson.a -l:liblua5.4.a -l:libuv_a.a -l:libcap-ng.a -l:liblua5.4-yaml.so.0 \
	$(shell $(PKG_CONFIG) --libs $(DYNAMIC_PACKAGES)) -lm -ldl -lpthread

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla
HARDENING := -fstack-protector-strong -fPIE $(if $(SANITIZE),,-D_FORTIFY_SOURCE=2)
SANITIZERS := $(if $(SANITIZE),-fsanitize=address -fsanitize=undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE -DMLB_VERSION='"$(VERSION)"' -Icore $(WARNINGS) $(CFLAGS) $(HARDENING) \
	$(SANITIZERS) $(PACKAGE_CFLAGS) -MMD -MP
# Symbols of Lua are exported: the C half of lua-yaml and, in the spec runner, of busted resolve them here.
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now -Wl,--export-dynamic $(SANITIZERS) $(LDFLAGS)

CORE_SOURCES := $(sort $(wildcard core/*.c))
CORE_OBJECTS := $(patsubst core/%.c,$(BUILD)/core/%.o,$(filter-out core/main.c,$(CORE_SOURCES)))
# The status page's style and script are embedded beside the Lua files.
LUA_FILES := $(sort $(shell find lua -name '*.lua' -o -name '*.css' -o -name '*.js'))
POLICY_FILES := $(sort $(wildcard policies/*.lua))
LIBRARY_FILES = $(LUA_SHARE)/argparse.lua $(wildcard $(LUA_SHARE)/lyaml/*.lua)
EMBEDDED = $(foreach f,$(LUA_FILES),$(f:lua/%=%)=$(f)) $(foreach f,$(POLICY_FILES),$(f)=$(f)) \
	$(foreach f,$(LIBRARY_FILES),$(f:$(LUA_SHARE)/%=%)=$(f))

.PHONY: all deps demo test check conformance fuzz bench image man install clean help
.DEFAULT_GOAL := all

all: $(BUILD)/moonlb ## build build/moonlb

deps: ## install the Debian packages that are missing (vendor/packages)
	$(Q)vendor/install build run test

$(BUILD)/core/%.o: core/%.c | $(BUILD)/core
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(BUILD)/core $(BUILD)/spec:
	$(Q)mkdir -p $@

# The list of names is a prerequisite of its own, so that a removed or added file embeds anew.
$(BUILD)/embedded.list: FORCE | $(BUILD)/core
	$(Q)printf '%s\n' $(EMBEDDED) >$@.new; cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(BUILD)/embedded.o: $(BUILD)/embedded.list core/embed.sh $(LUA_FILES) $(POLICY_FILES)
	$(Q)core/embed.sh $(EMBEDDED) >$(BUILD)/embedded.s
	$(Q)$(CC) -c -o $@ $(BUILD)/embedded.s

$(BUILD)/moonlb: $(BUILD)/core/main.o $(CORE_OBJECTS) $(BUILD)/embedded.o
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)
	@echo "built $@"

# The same objects with busted as their main: specs run inside the very code that ships.
$(BUILD)/spec/runner.o: spec/support/runner.c | $(BUILD)/spec
	$(Q)$(CC) $(ALL_CFLAGS) -DMLB_LIBDIR='"$(LIBDIR)"' -c -o $@ $<

$(BUILD)/moonlb-spec: $(BUILD)/spec/runner.o $(CORE_OBJECTS) $(BUILD)/embedded.o
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# make test SPECS=spec/unit/address_spec.lua runs one file.
SPECS ?= spec
test: deps ## run the specs (SANITIZE=1: under ASan and UBSan; SPECS=path: some of them)
	$(Q)$(MAKE) --no-print-directory $(BUILD)/moonlb $(BUILD)/moonlb-spec
	$(Q)MOONLB=$(BUILD)/moonlb SPEC_JOBS=$${SPEC_JOBS:-$$(nproc)} spec/run $(BUILD)/moonlb-spec $(SPECS)

check: deps ## warnings as errors with gcc and clang, luacheck, house rules
	$(Q)$(MAKE) --no-print-directory BUILD=build/gcc CC=gcc all
	$(Q)$(MAKE) --no-print-directory BUILD=build/clang CC=clang all
	$(Q)spec/check

conformance: deps ## the specs of spec/cluster against a real kube-apiserver
	$(Q)$(MAKE) --no-print-directory $(BUILD)/moonlb $(BUILD)/moonlb-spec
	$(Q)MOONLB=$(BUILD)/moonlb spec/cluster/conformance $(BUILD)/moonlb-spec

demo: deps ## a Service gets an address and answers on a LAN of network namespaces (KEEP=1 leaves it running)
	$(Q)$(MAKE) --no-print-directory $(BUILD)/moonlb
	$(Q)MOONLB=$(BUILD)/moonlb spec/lab/demo $(if $(KEEP),--keep)

# A fuzz target includes the file under test; the archive gives what that file calls and nothing twice.
FUZZ_SECONDS ?= 10
FUZZ_CFLAGS := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -O1 -g
FUZZ_TARGETS := $(patsubst spec/fuzz/%.c,build/fuzz/%,$(sort $(wildcard spec/fuzz/*.c)))
FUZZ_CORE := $(patsubst core/%.c,build/fuzz/core/%.o,$(filter-out core/main.c,$(CORE_SOURCES)))

build/fuzz/core/%.o: core/%.c
	$(Q)mkdir -p $(@D)
	$(Q)clang $(filter-out $(CFLAGS),$(ALL_CFLAGS)) $(FUZZ_CFLAGS) -c -o $@ $<

build/fuzz/core.a: $(FUZZ_CORE)
	$(Q)rm -f $@; ar rcs $@ $^

build/fuzz/%: spec/fuzz/%.c build/fuzz/core.a
	$(Q)clang $(filter-out $(CFLAGS),$(ALL_CFLAGS)) $(subst fuzzer-no-link,fuzzer,$(FUZZ_CFLAGS)) -pie -o $@ $< build/fuzz/core.a $(filter-out %yaml.so.0,$(LIBS))

fuzz: deps ## libFuzzer on every parser, FUZZ_SECONDS each (default 10)
	$(Q)$(MAKE) --no-print-directory $(FUZZ_TARGETS)
	$(Q)spec/fuzz/run $(FUZZ_SECONDS) $(FUZZ_TARGETS)

LAB_BENCHES := spec/bench/takeover.lua
BENCHES ?= $(filter-out spec/bench/pulse.lua,$(sort $(wildcard spec/bench/*.lua)))
bench: deps ## measure what section 8 of the design promises (BENCHES=spec/bench/x.lua: some of it)
	$(Q)$(MAKE) --no-print-directory $(BUILD)/moonlb-spec
	$(Q)for bench in $(BENCHES); do echo "== $$bench"; \
		enter=; case $$bench in $(LAB_BENCHES)) enter=spec/lab/enter;; esac; \
		MOONLB_ROOT=$$PWD $$enter $(BUILD)/moonlb-spec --script $$bench || exit 1; done

image: ## the OCI image as build/moonlb-VERSION.tar: no shell, reproducible (ARCH=arm64: for that, tried under qemu)
	$(Q)vendor/install build run image $(if $(ARCH),cross)
	$(Q)$(if $(ARCH),vendor/sysroot $(ARCH) $(SYSROOT))
	$(Q)$(MAKE) --no-print-directory $(BUILD)/moonlb
	$(Q)SYSROOT=$(SYSROOT) manifests/image $(BUILD)/moonlb $(VERSION) $(BUILD)/moonlb-$(VERSION).tar
	$(Q)$(if $(ARCH),SYSROOT=$(SYSROOT) manifests/image --try $(BUILD)/moonlb plan -f manifests/examples/shop.yaml)

# DESTDIR goes before every path, for packages.
PREFIX ?= /usr/local
SHARE = $(DESTDIR)$(PREFIX)/share
man: $(BUILD)/moonlb.1 ## the manual page as build/moonlb.1: man -l build/moonlb.1
	@echo "$<"

$(BUILD)/moonlb.1: $(BUILD)/moonlb
	$(Q)$(BUILD)/moonlb manual >$@

install: $(BUILD)/moonlb ## the program, its manual and its shell completion below PREFIX (/usr/local); DESTDIR for packages
	$(Q)install -D -m 755 -s $(BUILD)/moonlb $(DESTDIR)$(PREFIX)/bin/moonlb
	$(Q)install -d $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d \
		$(SHARE)/man/man1
	$(Q)$(BUILD)/moonlb manual >$(SHARE)/man/man1/moonlb.1
	$(Q)$(BUILD)/moonlb completion bash >$(SHARE)/bash-completion/completions/moonlb
	$(Q)$(BUILD)/moonlb completion zsh >$(SHARE)/zsh/site-functions/_moonlb
	$(Q)$(BUILD)/moonlb completion fish >$(SHARE)/fish/vendor_completions.d/moonlb.fish
	@echo "installed below $(DESTDIR)$(PREFIX)"

clean: ## remove what was built
	rm -rf build

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{ printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

FORCE:
-include $(wildcard $(BUILD)/core/*.d $(BUILD)/spec/*.d)
