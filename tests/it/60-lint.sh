#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 200
# The lint itself: it must find each kind of violation in a copy of the sources.
. "$(dirname "$0")/lib.sh"

need_tool make gcc nm
C=$T/copy
O=$C/build-copy
mkdir "$C"
cp -a "$SRC/Makefile" "$SRC/LICENSE" "$SRC/tools" "$SRC"/{base,proto,store,raft,fs,daemon,cli,mount-helper} "$C/"
mkdir "$O"
for folder in base proto store raft fs daemon cli mount-helper; do
	[ ! -d "$BUILD/$folder" ] || cp -a "$BUILD/$folder" "$O/"
done
find "$O" -name '*.d' -delete

lint() { "$C/tools/lint.sh" "$O" "$@"; }

say "the sources as they are"
exits 0 lint includes symbols determinism names headers words licence
matches "$(tail -n 1 <<<"$OUT")" '^7 passed, 0 failed$' "the last line"

OUT_OF=''  # the check that $OUT is of

# finds CHECK WORDS: the check reports a violation in these words.
finds() {
	[ "$OUT_OF" = "$1" ] || exits 1 lint "$1"
	OUT_OF=$1
	matches "$OUT" "$2" "$1"
}

# Compiles a file of the copy into the copy's objects.
compile() {
	make -s -C "$C" COORDFS_DEPS_LATER=1 BUILD="$O" "$O/${1%.c}.o" >"$T/make" 2>&1 || fail "$(cat "$T/make")"
}

# Violations are collected, then one run must find each of them; afterwards nothing may be left.
FILES=()
WORDS=()

bad() { # FILE CONTENT WORDS: the lint must report the file in these words
	printf '%s\n' "$2" >"$C/$1"
	FILES+=("$1")
	WORDS+=("$3")
}

found_by() { # CHECK
	local file words
	for file in "${FILES[@]}"; do
		case $1:$file in
		includes:* | licence:*) ;;
		*.c) compile "$file" ;;
		esac
	done
	for words in "${WORDS[@]}"; do
		finds "$1" "$words"
	done
	for file in "${FILES[@]}"; do
		rm -f "$C/$file" "$O/${file%.c}.o"
	done
	FILES=() WORDS=() OUT_OF=''
	exits 0 lint "$1"
}

say "includes"
bad store/bad.c '#include "raft/driver.h"' 'store/bad.c includes "raft/driver.h"'
bad raft/bad.c '#include "store/store.h"' 'raft/bad.c includes "store'
bad fs/bad1.c '#include "raft/client.h"' 'fs/bad1.c includes "raft'
bad base/bad1.c '#include "proto/limits.h"' 'base/bad1.c includes "proto'
bad proto/bad.h '#include "store/store.h"' 'proto/bad.h includes'
bad mount-helper/bad.c '#include "proto/limits.h"' 'mount-helper/bad.c includes'
bad cli/bad.c '#include "store/store.h"' 'cli/bad.c includes'
bad raft/bad2.c '#include "proto/command.pb-c.h"' 'raft/bad2.c .*sees commands as bytes'
bad fs/bad2.c '#include <sqlite3.h>' 'fs/bad2.c includes <sqlite3.h>'
bad daemon/bad1.c '  #  include  <sqlite3.h>' 'daemon/bad1.c includes <sqlite3.h>'
bad store/bad2.c '#include <uv.h>' 'store/bad2.c includes <uv.h>'
bad fs/bad3.c '#include <raft.h>' 'fs/bad3.c includes <raft.h>'
bad daemon/bad2.c '#include <fuse_lowlevel.h>' 'daemon/bad2.c includes <fuse'
bad base/bad2.c '#include <xxhash.h>' 'base/bad2.c includes <xxhash'
bad base/bad.h '#include "buf.h"' 'base/bad.h includes "buf.h": write it from the root'
found_by includes

say "symbols, declared by hand to get around the includes"
use() { # FILE SYMBOL WORDS
	bad "$1" "int $2(void); int bad_use(void); int bad_use(void) { return $2(); }" "$3"
}
use daemon/bad.c sqlite3_initialize 'daemon/bad.c uses sqlite3_initialize, of sqlite3'
use fs/bad.c raft_term 'fs/bad.c uses raft_term, of raft'
use store/bad.c uv_now 'store/bad.c uses uv_now, of uv'
use raft/bad.c fuse_version 'raft/bad.c uses fuse_version, of fuse'
use mount-helper/bad.c stamp_encode 'mount-helper/bad.c uses stamp_encode, of proto'
found_by symbols

say "determinism"
bad store/bad1.c '#include <time.h>
long bad1(void); long bad1(void) { return (long)time(0); }' 'store/bad1.c uses time'
bad store/bad2.c 'int bad2(int x); int bad2(int x) { return (int)(x * (double)2); }' 'floating point'
bad raft/bad.c '#include <stdlib.h>
int bad(void); int bad(void) { return rand(); }' 'raft/bad.c uses rand'
found_by determinism

say "names, headers, words"
bad base/bad.c 'int other(void); int other(void) { return 1; }' 'base/bad.c exports other'
found_by names
bad base/bad.h 'static inline size_t bad_size(void) { return 1; }' 'base/bad.h does not compile alone'
found_by headers
bad base/bad.h '/* TO''DO later */' 'base/bad.h'
found_by words

say "licence"
bad store/bad.c 'int bad;' 'store/bad.c does not name its licence in line 1'
bad tools/bad.sh '#!/bin/sh' 'tools/bad.sh does not name its licence in line 2'
bad proto/bad.proto '# SPDX-License-Identifier: Apache-2.0' 'proto/bad.proto does not name its licence'
found_by licence

say "documents: each name in them exists"
mkdir -p "$C/docs" "$C/tests/it"
echo '# SPDX-License-Identifier: Apache-2.0' >"$C/tests/it/10-there.sh"
echo '`store/check.c` and `store/check`, `store_check()`, `store/*.h`,' >"$C/docs/GOOD.md"
echo '`10-there`, `make lint`, [it](../LICENSE)' >>"$C/docs/GOOD.md"
exits 0 lint docs
docs=0
doc() { docs=$((docs + 1)); bad docs/BAD$docs.md "$1" "docs/BAD$docs.md:1.*$2"; }
doc 'in `store/not_there.c`' 'names store/not_there.c, which does not exist'
doc 'and `store/gone_*`' 'names store/gone_\*, which does not exist'
doc '    cp store/gone x' 'names store/gone, which'
doc 'by `no_such_function()`' 'names no_such_function, which is nowhere'
doc 'by `no_such_name`' 'names no_such_name, which is nowhere'
doc 'a structure, no function: `driver_member()`' 'names driver_member, which is nowhere'
doc '`11-not-there`' 'names the test 11-not-there'
doc '`make nothing`' "names 'make nothing', which is no target"
doc '[a](nothing.md)' 'links to nothing.md, which'
doc "$(printf 'ü%.0s' {1..101})" '101 columns'
found_by docs
printf 'ü%.0s' {1..100} >"$C/docs/GOOD.md"
exits 0 lint docs
sed -i 's/^  make lint .*//' "$C/Makefile"
finds docs 'make help does not name lint'

say "no objects, no such check"
mkdir "$C/build-empty"
exits 1 "$C/tools/lint.sh" "$C/build-empty" symbols
exits 1 lint no-such-check

if command -v clang-format >/dev/null; then
	cp "$SRC/.clang-format" "$C/"
	mkdir -p "$C/tests"
	printf 'int  x ;\n' >"$C/base/bad.h"
	finds format 'base/bad.h'
fi
