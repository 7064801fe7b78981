# SPDX-License-Identifier: Apache-2.0
# coordfs: one makefile for everything. `make help` lists the targets and the variables.

PREFIX     ?= /usr/local
SBINDIR    ?= $(PREFIX)/sbin
BINDIR     ?= $(PREFIX)/bin
INCLUDEDIR ?= $(PREFIX)/include
DESTDIR    ?=
CC      := $(if $(filter default,$(origin CC)),gcc,$(CC))

comma := ,
variant := $(if $(COVERAGE),-coverage)$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))
BUILD   ?= build$(variant)

Q := $(if $(V),,@)

# ---- Dependencies --------------------------------------------------------------------------------
PACKAGES := fuse3 libuv sqlite3 libprotobuf-c libxxhash jansson mount smartcols libsystemd
# Exactly this version: the driver reads fields of libraft's struct raft. Its layout is not part of
# libraft's interface and changes between versions.
RAFT_VERSION := 0.22.1
# Targets that need no compiler must work before `make deps` has run.
needs_packages := $(filter-out help deps demo-deps test-deps lint-deps clean demo-stop uninstall,$(or $(MAKECMDGOALS),all))

ifneq ($(needs_packages),)
ifeq ($(COORDFS_DEPS_LATER),)
ifneq ($(filter demo test test-debian bench coverage lint sim mutants sanitize fuzz chaos mirror,$(needs_packages)),)
# These targets install missing packages first, and then run make again.
else ifneq ($(shell pkg-config --exists $(PACKAGES) raft 2>/dev/null && echo ok),ok)
$(error some of the packages $(PACKAGES) raft are missing: run 'make deps' as root)
else ifneq ($(shell pkg-config --modversion raft),$(RAFT_VERSION))
define WRONG_RAFT
libraft $(shell pkg-config --modversion raft) is installed, but coordfs needs exactly $(RAFT_VERSION) (docs/ARCHITECTURE.md, "Dependencies"). \
Either run 'make deps' as root (Debian 12: bookworm-backports has it; Debian 13 has it), or build libraft $(RAFT_VERSION) \
and run 'PKG_CONFIG_PATH=DIR make' with the folder of its raft.pc
endef
$(error $(WRONG_RAFT))
endif
endif
endif

ifneq ($(needs_packages),)
PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) raft 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PACKAGES) raft 2>/dev/null)
endif

# ---- Flags ---------------------------------------------------------------------------------------
WARNINGS := -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 \
            -Wcast-qual -Wswitch-enum -Wpointer-arith -Wwrite-strings $(if $(WERROR),-Werror)
OPTIMIZE := $(if $(SANITIZE)$(COVERAGE),-O1 -fno-omit-frame-pointer,-O2 -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE)
CFLAGS   ?= -g
ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DFUSE_USE_VERSION=314 -pthread \
              -iquote . -iquote $(BUILD) $(WARNINGS) $(OPTIMIZE) $(PKG_CFLAGS) \
              $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all) \
              $(if $(COVERAGE),--coverage -fprofile-update=atomic -DCOVERAGE) $(CFLAGS)
ALL_LDFLAGS := -pthread $(if $(SANITIZE),-fsanitize=$(SANITIZE)) $(if $(COVERAGE),--coverage) \
               $(if $(SANITIZE)$(COVERAGE),,-pie -Wl$(comma)-z$(comma)relro -Wl$(comma)-z$(comma)now) $(LDFLAGS)

# ---- Sources -------------------------------------------------------------------------------------
LAYERS   := base proto store raft fs daemon
PROTOS   := $(wildcard proto/*.proto)
PB_C     := $(PROTOS:%.proto=$(BUILD)/%.pb-c.c)
PB_H     := $(PROTOS:%.proto=$(BUILD)/%.pb-c.h)
MAINS    := daemon/coordfsd.c cli/coordfs.c mount-helper/mount.coordfs.c
LIB_SRC  := $(filter-out $(MAINS),$(foreach d,$(LAYERS),$(wildcard $(d)/*.c $(d)/*/*.c)))
CLI_SRC  := $(filter-out $(MAINS),$(wildcard cli/*.c))
HELPER_SRC := $(filter-out $(MAINS),$(wildcard mount-helper/*.c))
LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/%.o) $(PB_C:.c=.o)
PROGRAMS := $(foreach m,$(MAINS),$(if $(wildcard $(m)),$(BUILD)/$(basename $(notdir $(m)))))
TEST_SRC := $(wildcard tests/unit/test_*.c)
TESTS    := $(TEST_SRC:tests/unit/%.c=$(BUILD)/tests/%)
TEST_LIB_SRC := $(wildcard tests/lib/*.c)
SIM_SRC  := $(wildcard tests/sim/*.c)
TOOL_SRC := $(wildcard tests/tools/*.c)
TOOLS    := $(TOOL_SRC:tests/tools/%.c=$(BUILD)/tests/%)
TEST_LIBS := -lcmocka

.PHONY: all tests tools help
all: $(PROGRAMS)

define HELP
Build
  make                 builds coordfsd, coordfs and mount.coordfs in build/
  make tests           builds the unit tests; make tools: the programs that the tests use
  make deps            installs the packages for the build (root, Debian 12 and 13)
  make demo-deps, make test-deps, make lint-deps: also those for the demo, the tests, lint
  make install         installs below DESTDIR and PREFIX; make uninstall removes that again
  make clean           removes all build folders

Try
  make demo            three members on 127.0.0.1 with mounts DIR/1, DIR/2, DIR/3 (root)
  make demo-stop       stops and unmounts them; the data stay

Test (root)
  make test            all tests; make test-unit, make test-it: a part of them
  make test-debian     all tests in a fresh tree of another Debian release (RELEASE, ONLY)
  make sanitize        the unit tests under the sanitizers for addresses and undefined behaviour
  make sim             simulates whole members in SEEDS worlds; SEED=n: one world, with its events
  make mutants         deliberate bugs, one by one: the simulation must find each (MUTANTS)
  make chaos           real members and networks: each nemesis, all workloads (CHAOS_S seconds)
  make differential    random programs on ext4, on one mount and on two (SEEDS, SEED: the first)
  make told            races of two and three hosts: no host sees older names than it was told (ROUNDS)
  make mirror          inotify events of another host's random changes (MIRROR_N, MIRROR_SEEDS)
  make fuzz            hostile bytes, with clang's libFuzzer (FUZZTIME seconds each, FUZZERS)
  make bench           a benchmark with real mounts
  make coverage        runs the tests and prints the line coverage of each file
  make lint            layers, headers, form, documents, static analysis

Variables
  CC, CFLAGS, LDFLAGS  as usual; BUILD: the build folder; V=1: shows commands
  WERROR=1             warnings are errors, as in CI
  SANITIZE=address,undefined, SANITIZE=thread, COVERAGE=1: variants, each in its own build folder
  PREFIX, DESTDIR, SBINDIR, BINDIR, INCLUDEDIR: for make install
  JOBS=n               how many tests run together; DIR: the demo's folder
endef

help: export COORDFS_HELP = $(HELP)
help:
	@printf '%s\n' "$$COORDFS_HELP"

$(BUILD)/libcoordfs.a: $(LIB_OBJ)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/coordfsd: $(BUILD)/daemon/coordfsd.o $(BUILD)/libcoordfs.a
$(BUILD)/coordfs: $(BUILD)/cli/coordfs.o $(CLI_SRC:%.c=$(BUILD)/%.o) $(BUILD)/libcoordfs.a
$(BUILD)/mount.coordfs: $(BUILD)/mount-helper/mount.coordfs.o $(HELPER_SRC:%.c=$(BUILD)/%.o) $(BUILD)/libcoordfs.a
$(PROGRAMS):
	$(Q)echo "  LD    $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(PKG_LIBS)

$(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(TEST_LIB_SRC:%.c=$(BUILD)/%.o) $(BUILD)/libcoordfs.a
	$(Q)echo "  LD    $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(PKG_LIBS) $(TEST_LIBS) $(LDFLAGS_$*)
SIM_OBJ  := $(BUILD)/tests/unit/test_sim.o $(SIM_SRC:%.c=$(BUILD)/%.o) $(TEST_LIB_SRC:%.c=$(BUILD)/%.o)
$(BUILD)/tests/test_sim: $(SIM_OBJ)
WRAP_FILES := $(foreach f,pwrite64 fsync renameat unlinkat unlink,-Wl$(comma)--wrap=$(f))
LDFLAGS_test_sim := $(foreach f,die check_failed consensus_session consensus_applied session_manager_ended,-Wl$(comma)--wrap=$(f)) $(WRAP_FILES)
LDFLAGS_coordfsd_cut := $(WRAP_FILES)
$(TOOLS): $(BUILD)/tests/%: $(BUILD)/tests/tools/%.o $(BUILD)/libcoordfs.a
	$(Q)echo "  LD    $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(PKG_LIBS) $(LDFLAGS_$*)
$(filter $(BUILD)/tests/test_cli_%,$(TESTS)) $(BUILD)/tests/test_fs_ioctl: \
	$(addprefix $(BUILD)/cli/,cli.o explain.o path.o transact.o txn_text.o tokenizer.o)
$(BUILD)/tests/localfs: $(BUILD)/tests/lib/local_backend.o $(BUILD)/tests/lib/local_serve.o
$(BUILD)/tests/history: $(BUILD)/tests/lib/observed.o
$(BUILD)/tests/coordfsd_cut: $(addprefix $(BUILD)/,daemon/coordfsd.o tests/lib/crash_vfs.o tests/sim/files.o)
$(BUILD)/tests/workload: $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/chaos/*.c))

# A build with other flags compiles and links everything again: all objects and programs depend on
# this file, which changes only if the flags do. (ccache in front of the compiler does not matter.)
FLAGS_FILE := $(BUILD)/flags
FLAGS := $(filter-out ccache,$(CC)) $(ALL_CFLAGS) -- $(ALL_LDFLAGS) $(PKG_LIBS) $(TEST_LIBS)
squote := '
.PHONY: FORCE
FORCE:
$(FLAGS_FILE): FORCE
	$(Q)mkdir -p $(@D)
	$(Q)echo '$(subst $(squote),,$(FLAGS))' | cmp -s - $@ || echo '$(subst $(squote),,$(FLAGS))' >$@

$(BUILD)/%.o: %.c $(PB_H) $(FLAGS_FILE)
	$(Q)mkdir -p $(@D)
	$(Q)echo "  CC    $<"
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Generated code may cause warnings.
$(BUILD)/%.pb-c.o: $(BUILD)/%.pb-c.c $(FLAGS_FILE)
	$(Q)$(CC) $(filter-out -W%,$(ALL_CFLAGS)) -c -o $@ $<

$(BUILD)/%.pb-c.c $(BUILD)/%.pb-c.h: %.proto
	$(Q)mkdir -p $(@D)
	$(Q)protoc-c --c_out=$(BUILD) $<

tests: $(TESTS)
tools: $(TOOLS)

# Only our own folders: a demo's mounts may be below $(BUILD).
-include $(foreach d,$(LAYERS) cli mount-helper tests,$(wildcard $(BUILD)/$(d)/*.d $(BUILD)/$(d)/*/*.d))
.SECONDARY:
.DELETE_ON_ERROR:

# ---- Set-up, tests, tools ------------------------------------------------------------------------
.PHONY: deps demo-deps test-deps lint-deps test test-unit test-it test-debian sanitize sim mutants chaos mirror differential told fuzz lint bench coverage \
        demo demo-stop install uninstall clean

# Runs make again after the packages are installed, by default with as many jobs as processors.
SUB = $(MAKE) --no-print-directory COORDFS_DEPS_LATER=1 \
      $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))

deps:
	$(Q)tools/deps.sh
demo-deps:
	$(Q)tools/deps.sh --demo
test-deps:
	$(Q)tools/deps.sh --test
lint-deps:
	$(Q)tools/deps.sh --test --lint

test: test-deps
	$(Q)$(SUB) all tests tools
	$(Q)tests/run.sh $(BUILD) unit it
test-unit: all tests
	$(Q)tests/run.sh $(BUILD) unit
test-it: all tools
	$(Q)tests/run.sh $(BUILD) it

SANITIZE_BUILD := build-address-undefined
sanitize: test-deps
	$(Q)$(SUB) BUILD=$(SANITIZE_BUILD) SANITIZE=address,undefined all tests tools
	$(Q)tests/run.sh $(SANITIZE_BUILD) unit

RELEASE ?= $(shell grep -q '^VERSION_CODENAME=trixie' /etc/os-release && echo bookworm || echo trixie)
test-debian:
	$(Q)tools/deps.sh --tree
	$(Q)tools/test-debian.sh $(BUILD) $(RELEASE) $(ONLY)

SEEDS ?= 2000
sim: test-deps
	$(Q)$(SUB) $(BUILD)/tests/test_sim
	$(Q)SEED=$(SEED) SEEDS=$(SEEDS) $(BUILD)/tests/test_sim

mutants: test-deps
	$(Q)$(SUB) $(BUILD)/tests/test_sim
	$(Q)CC='$(CC) $(ALL_CFLAGS)' LIBS='$(PKG_LIBS) $(TEST_LIBS)' \
	LINK='$(CC) $(ALL_LDFLAGS) $(LDFLAGS_test_sim)' OBJS='$(SIM_OBJ)' \
	tests/sim/mutants.sh $(BUILD) $(MUTANTS)

CHAOS_S ?= 120
chaos: test-deps
	$(Q)$(SUB) all tools
	$(Q)BUILD=$(BUILD) CHAOS_S=$(CHAOS_S) tests/it/chaos.sh

MIRROR_N     ?= 10000
MIRROR_SEEDS ?= 1 2 3 4 5 6 7 8 9 10
mirror: test-deps
	$(Q)$(SUB) all tools
	$(Q)BUILD=$(BUILD) MIRROR_ONLY=1 MIRROR_N=$(MIRROR_N) MIRROR_SEEDS="$(MIRROR_SEEDS)" tests/it/16-inotify.sh

differential: SEEDS = 200
differential: test-deps
	$(Q)$(SUB) all
	$(Q)BUILD=$(BUILD) SEEDS=$(SEEDS) SEED=$(SEED) tests/it/19-differential.sh

ROUNDS ?= 2000
told: test-deps
	$(Q)$(SUB) all tools
	$(Q)BUILD=$(BUILD) TOLD_ROUNDS=$(ROUNDS) tests/it/35-told.sh

FUZZTIME ?= 60
FUZZERS  ?= $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
fuzz: lint-deps
	$(Q)$(SUB) CC=clang BUILD=build-fuzz SANITIZE=address,undefined \
		CFLAGS='-g -O1 -fsanitize=fuzzer-no-link' $(FUZZERS:%=build-fuzz/tests/fuzz/%)
	$(Q)for f in $(FUZZERS); do \
		mkdir -p build-fuzz/corpus/$$f && echo "== $$f" && \
		build-fuzz/tests/fuzz/$$f -max_total_time=$(FUZZTIME) -max_len=4096 -print_final_stats=1 \
			-verbosity=0 -artifact_prefix=build-fuzz/$$f- build-fuzz/corpus/$$f \
			$$(find tests/fuzz/corpus -name $$f) || exit 1; done
LDFLAGS_control := $(foreach f,consensus_status consensus_session consensus_pending,-Wl$(comma)--wrap=$(f))
$(BUILD)/tests/fuzz/txn_text: $(addprefix $(BUILD)/cli/,cli.o explain.o path.o transact.o txn_text.o tokenizer.o)
$(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/fuzz_%.o $(TEST_LIB_SRC:%.c=$(BUILD)/%.o) $(BUILD)/libcoordfs.a
	$(Q)echo "  LD    $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $(filter %.o,$^) $(filter %.a,$^) $(PKG_LIBS) $(TEST_LIBS) \
		$(LDFLAGS_$*)

LINT_BUILD ?= build-lint
lint: lint-deps
	$(Q)$(SUB) WERROR=1 BUILD=$(LINT_BUILD) all tests tools
	$(Q)tools/lint.sh $(LINT_BUILD)

bench: test-deps
	$(Q)$(SUB) all tools
	$(Q)tests/bench/run.sh $(BUILD)

coverage: test-deps
	$(Q)$(SUB) COVERAGE=1 all tests tools
	$(Q)find build-coverage -name '*.gcda' -delete
	$(Q)rc=0; tests/run.sh build-coverage unit it || rc=1; tools/coverage.sh build-coverage && exit $$rc

DIR ?= build/demo
demo: demo-deps
	$(Q)$(SUB) all
	$(Q)tools/demo.sh start $(BUILD) $(DIR)
demo-stop:
	$(Q)tools/demo.sh stop $(BUILD) $(DIR)

# mount(8) looks for its helpers only in /sbin, for any PREFIX.
install: all
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(BINDIR) $(DESTDIR)/sbin $(DESTDIR)$(INCLUDEDIR)/coordfs
	install -m 755 $(BUILD)/coordfsd $(DESTDIR)$(SBINDIR)/coordfsd
	install -m 755 $(BUILD)/coordfs $(DESTDIR)$(BINDIR)/coordfs
	install -m 755 $(BUILD)/mount.coordfs $(DESTDIR)/sbin/mount.coordfs
	ln -sf mount.coordfs $(DESTDIR)/sbin/mount.fuse.coordfs
	install -m 644 proto/ioctl.h $(DESTDIR)$(INCLUDEDIR)/coordfs/ioctl.h

uninstall:
	rm -f $(DESTDIR)$(SBINDIR)/coordfsd $(DESTDIR)$(BINDIR)/coordfs
	rm -f $(DESTDIR)/sbin/mount.coordfs $(DESTDIR)/sbin/mount.fuse.coordfs
	rm -f $(DESTDIR)$(INCLUDEDIR)/coordfs/ioctl.h
	! test -d $(DESTDIR)$(INCLUDEDIR)/coordfs || rmdir --ignore-fail-on-non-empty $(DESTDIR)$(INCLUDEDIR)/coordfs

clean:
	@! grep -q ' $(CURDIR)/build' /proc/self/mounts || { echo 'clean: something is mounted below build (make demo-stop)' >&2; exit 1; }
	rm -rf build build-*
