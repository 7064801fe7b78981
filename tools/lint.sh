#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Checks the sources: the layers, the form, and static analysis.
#
# Usage: tools/lint.sh BUILD [CHECK]...      (make lint builds everything before)
#
# BUILD has the objects of all folders. The checks (default: all of them):
#   includes     a folder includes only lower folders and its own libraries
#   symbols      the same for the symbols that the object files use
#   arrows       the same for the folders of fs/; no cycle of folders, none of more than three files
#   determinism  store/ uses no clock, no random source, no environment; raft/ only its callers'
#   names        the names that a file exports begin with its name or that of a header of its folder
#   headers      every header compiles alone
#   words        no leftovers (TODO …)
#   licence      every source file names its licence at its beginning
#   docs         the names in the documents exist: files, functions, tests, make targets; 100
#                columns; `make help` names every target
#   format       clang-format
#   cppcheck     cppcheck
#   tidy         clang-tidy, a small selection
#   shell        shellcheck (only if it is installed)
#
# Every check runs, also after another one has failed; the exit status is 1 if any has failed.
set -u -o pipefail

ALL='includes symbols arrows determinism names headers words licence docs format cppcheck tidy shell'

[ $# -ge 1 ] && [ -d "$1" ] || {
	echo "usage: tools/lint.sh BUILD [CHECK]..." >&2
	exit 2
}
BUILD=$1
shift
[ $# -gt 0 ] || read -r -a WANTED <<<"$ALL"
[ $# = 0 ] || WANTED=("$@")
cd "$(dirname "$0")/.." || exit 2

FOLDERS='base proto store raft fs daemon cli mount-helper'
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
found=0

# Reports a violation.
complain() {
	echo "lint: $*"
	found=1
}

# ---- The layers: docs/ARCHITECTURE.md, "Layers" --------------------------------------------------

# FOLDER | our folders that it may use | libraries that it may use
layers() {
	cat <<-END
		base         | base                            |
		proto        | base proto                      | protobuf-c xxhash
		store        | base proto store                | protobuf-c xxhash uthash sqlite3
		raft         | base proto raft                 | protobuf-c xxhash uthash uv raft
		fs           | base proto fs                   | protobuf-c xxhash uthash fuse libmount
		daemon       | base proto store raft fs daemon | protobuf-c xxhash uthash uv jansson libmount systemd
		cli          | base proto cli                  | protobuf-c xxhash jansson libmount smartcols
		mount-helper | base mount-helper               |
	END
}

# Uses that the table forbids but that are intended: FILE USED, and the reason.
exceptions() {
	cat <<-END
		cli/check.c store    coordfs check opens the database of a stopped member
	END
}

# LIBRARY | its headers (extended regex) | its symbols
libraries() {
	cat <<-'END'
		protobuf-c | protobuf-c/.*          | protobuf_c_.*
		xxhash     | xxhash.h               | XXH[0-9]*_.*
		uthash     | ut(hash\|list\|array\|string\|ringbuffer\|stack).h | -
		sqlite3    | sqlite3.*              | sqlite3_.*
		uv         | uv(.h\|/.*)            | uv_.*
		raft       | raft(.h\|/.*)          | raft_.*
		fuse       | (fuse.*\|linux/fuse.h) | fuse_.*
		jansson    | jansson.*              | json_.*
		libmount   | libmount.h             | mnt_.*
		smartcols  | libsmartcols.h         | scols_.*
		systemd    | systemd/.*             | sd_.*
		openssl    | openssl/.*             | (SSL\|EVP\|X509\|BIO\|PEM\|ERR)_.*
		zstd       | z(std\|dict).*         | ZSTD_.*
	END
}

# The permitted uses, as "FOLDER USED" and "FILE USED" lines.
allowed() {
	layers | awk -F '|' '{
		gsub(/ /, "", $1)
		n = split($2 " " $3, used, " ")
		for (i = 1; i <= n; i++)
			print $1, used[i]
	}'
	exceptions | awk '{ print $1, $2 }'
}

# Prints those of the lines "FILE USED WHAT…" that no line of `allowed` covers: "FILE WHAT…".
forbidden() {
	allowed >"$WORK/allowed"
	awk -v table="$WORK/allowed" '
		BEGIN { while ((getline line <table) > 0) ok[line] = 1 }
		{
			folder = $1
			sub(/\/.*/, "", folder)
			if ((folder " " $2) in ok || ($1 " " $2) in ok)
				next
			$2 = ""
			print
		}' | tr -s ' '
}

sources() { # of all folders, or of the one given
	# shellcheck disable=SC2086 # words
	find ${1:-$FOLDERS} -name '*.[ch]' 2>/dev/null | sort
}

# A table of "NAME|REGEX" per library, of the headers (2) or of the symbols (3).
library_table() {
	libraries | sed 's/\\|/\x01/g' | awk -F '|' -v column="$1" '{
		gsub(/[[:space:]]/, "", $1); gsub(/[[:space:]]/, "", $column); gsub(/\001/, "|", $column)
		print $1 "\t" $column
	}'
}

# "FILE USED includes X" for every include of every source, without system headers.
all_includes() {
	library_table 2 >"$WORK/headers"
	sources | xargs grep -EHo '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"][^>"]*[>"]' |
		sed -E 's/:[[:space:]]*#[[:space:]]*include[[:space:]]*/ /' |
		awk -v table="$WORK/headers" '
			BEGIN {
				while ((getline line <table) > 0) {
					split(line, part, "\t")
					pattern[part[1]] = "^<(" part[2] ")>$"
				}
			}
			$2 ~ /^"/ {
				used = substr($2, 2)
				if (!sub(/\/.*/, "", used))
					used = "?"
				print $1, used, "includes", $2
				next
			}
			{ for (l in pattern) if ($2 ~ pattern[l]) { print $1, l, "includes", $2; next } }'
}

check_includes() {
	all_includes >"$WORK/includes"
	[ -s "$WORK/includes" ] || complain "no source includes anything: grep does not work here"
	{
		awk '$2 == "?" { print $1, $3, $4 ": write it from the root, folder and all" }' "$WORK/includes"
		grep -v ' ? ' "$WORK/includes" | forbidden
		awk '$1 ~ /^raft\// && $4 ~ /^"proto\/command\./ {
			print $1, $3, $4 ": consensus sees commands as bytes" }' "$WORK/includes"
	} >"$WORK/out"
	report "$WORK/out"
}

report() { # FILE of complaints
	local line
	while IFS= read -r line; do
		complain "$line"
	done <"$1"
}

# ---- Symbols -------------------------------------------------------------------------------------

# Objects whose source has been removed or moved are left out.
objects() {
	local folder object file
	for folder in $FOLDERS; do
		[ ! -d "$BUILD/$folder" ] || find "$BUILD/$folder" -name '*.o'
	done | sort | while IFS= read -r object; do
		file=${object#"$BUILD/"}
		[ -f "${file%.o}.c" ] || [ -f "${object%.o}.c" ] && echo "$object"
	done
}

# The output of nm for all objects, "FILE TYPE SYMBOL"; FILE is the source, as in the tables.
symbols() { # nm's options
	objects | xargs nm -A "$@" | sed "s|^$BUILD/||" |
		awk '{ file = $1; sub(/\.o:.*/, ".c", file); print file, $(NF - 1), $NF }'
}

# "SYMBOL FOLDER" for everything that our objects export.
exports() {
	symbols -g --defined-only | awk '{ folder = $1; sub(/\/.*/, "", folder); print $3, folder }'
}

# "FILE SYMBOL" for everything that our objects import.
imports() {
	symbols -u | awk '$2 ~ /^[Uwv]$/ { print $1, $3 }'
}

need_objects() {
	[ -n "$(objects | head -n 1)" ] || {
		complain "$BUILD has no objects: run make lint, or make BUILD=$BUILD all"
		return 1
	}
}

# Every import, with its folder or library: "FILE ORIGIN uses SYMBOL".
origins() {
	library_table 3 >"$WORK/symbols"
	exports >"$WORK/exports"
	imports | awk -F '[ \t]' -v table="$WORK/symbols" -v ours="$WORK/exports" '
		BEGIN {
			while ((getline line <table) > 0) {
				split(line, part, "\t")
				if (part[2] != "-")
					pattern[part[1]] = "^(" part[2] ")$"
			}
			while ((getline line <ours) > 0) {
				split(line, part, " ")
				folder[part[1]] = part[2]
			}
		}
		$2 in folder { print $1, folder[$2], "uses", $2 ", of " folder[$2]; next }
		{ for (l in pattern) if ($2 ~ pattern[l]) { print $1, l, "uses", $2 ", of " l; next } }'
}

check_symbols() {
	need_objects || return
	origins >"$WORK/origins"
	[ -s "$WORK/origins" ] || complain "no object uses anything: nm does not work here"
	forbidden <"$WORK/origins" >"$WORK/out"
	report "$WORK/out"
}

# ---- Arrows: folders inside fs/, and cycles ------------------------------------------------------

# FOLDER | folders of the same parent that its files may use; the order is from bottom to top. The
# check is by symbols. The files include fs/state.h, which contains the parts of struct fs and so
# depends on all folders, but a file may call only functions of the folders in the table. If a lower
# folder needs a higher one, it uses a hook (call_hooks in fs/request/call.h, attr_overlay in
# fs/inode/attr.h).
#
# Features that use one another, and the reasons:
#   cache -> mirror            the name lane forgets names, or lets the mirror make their change
#   writeback -> cache         committed content makes the kernel's pages stale
#   lock -> writeback          content is committed before its lock is released, or dropped with it
#   lifetime -> lock           an entry lives in the same session as locks do
#   control -> cache, mirror   a change of a control file raises inotify events, too
arrows_table() {
	cat <<-END
		fs/kernel    |
		fs/request   | kernel
		fs/inode     | kernel request
		fs/mirror    | kernel request inode
		fs/cache     | kernel request inode mirror
		fs/writeback | kernel request inode cache
		fs/lock      | kernel request inode writeback
		fs/lifetime  | kernel request inode lock
		fs/control   | kernel request inode mirror cache
		fs/reading   | kernel request inode mirror cache writeback control
		fs/ops       | kernel request inode mirror cache writeback lock lifetime control reading
		fs           | kernel request inode mirror cache writeback lock lifetime control reading ops
	END
}

CYCLE_MAX=3 # files

# "FILE FILE SYMBOL" for each symbol of the second file that the first one uses.
file_graph() {
	symbols -g --defined-only | awk '$2 ~ /^[TDBRCVW]$/ { print $3, $1 }' >"$WORK/defined"
	imports | awk -v table="$WORK/defined" '
		BEGIN {
			while ((getline line <table) > 0) {
				split(line, part, " ")
				file[part[1]] = part[2]
			}
		}
		$2 in file && file[$2] != $1 { print $1, file[$2], $2 }'
}

# Of lines "FROM TO WHY", prints each strongly connected component of more than `max` nodes (Tarjan
# 1972): a line "N in a cycle: A B …", and after it one reason for each of its edges.
cycles() { # max
	awk -v max="$1" '
		function visit(v,    i, n, list, w, size, members) {
			index_of[v] = low[v] = ++counter
			stack[++depth] = v
			on_stack[v] = 1
			n = split(next_of[v], list, " ")
			for (i = 1; i <= n; i++) {
				w = list[i]
				if (!(w in index_of)) {
					visit(w)
					if (low[w] < low[v])
						low[v] = low[w]
				} else if (on_stack[w] && index_of[w] < low[v])
					low[v] = index_of[w]
			}
			if (low[v] != index_of[v])
				return
			do {
				w = stack[depth--]
				on_stack[w] = 0
				component[w] = v
				members = members " " w
				size++
			} while (w != v)
			if (size > max)
				large[v] = size " in a cycle:" members
		}
		!(($1, $2) in why) {
			why[$1, $2] = $3
			next_of[$1] = next_of[$1] " " $2
		}
		END {
			for (v in next_of)
				if (!(v in index_of))
					visit(v)
			for (v in large) {
				print large[v]
				fflush()
				for (edge in why) {
					split(edge, end, SUBSEP)
					if (component[end[1]] == v && component[end[2]] == v)
						print "  " end[1] " uses " end[2] ": " why[edge] | "sort"
				}
				close("sort")
			}
		}'
}

# "FOLDER FOLDER SYMBOL" of a graph of files; only top-level folders, if `top`.
folder_graph() { # [top]
	awk -v top="${1:-}" '
		{ sub(top != "" ? "/.*" : "/[^/]*$", "", $1); sub(top != "" ? "/.*" : "/[^/]*$", "", $2) }
		$1 != $2'
}

# Edges within one top-level folder that the table does not permit.
forbidden_arrows() {
	arrows_table >"$WORK/arrows"
	awk -v table="$WORK/arrows" '
		function folder(path) { sub(/\/[^\/]*$/, "", path); return path }
		BEGIN {
			while ((getline line <table) > 0) {
				split(line, part, "|")
				gsub(/ /, "", part[1])
				parent = part[1]
				sub(/\/.*/, "", parent)
				divided[parent] = known[part[1]] = 1
				n = split(part[2], used, " ")
				for (i = 1; i <= n; i++)
					ok[part[1], parent "/" used[i]] = 1
			}
		}
		{
			from = folder($1)
			to = folder($2)
			parent = from
			sub(/\/.*/, "", parent)
			if (!(parent in divided) || index(to "/", parent "/") != 1)
				next
			if (!(from in known))
				print from " is not in the table of arrows"
			else if (from != to && !((from, to) in ok))
				print $1 " uses " $3 ", of " to
		}' | sort -u
}

check_arrows() {
	need_objects || return
	file_graph >"$WORK/files"
	[ -s "$WORK/files" ] || complain "no object uses another: nm does not work here"
	{
		forbidden_arrows <"$WORK/files"
		folder_graph <"$WORK/files" | cycles 1 | sed 's/^[0-9]/folders: &/'
		folder_graph top <"$WORK/files" | cycles 1 | sed 's/^[0-9]/folders: &/'
		cycles "$CYCLE_MAX" <"$WORK/files" | sed 's/^[0-9]/files: &/'
	} >"$WORK/out"
	report "$WORK/out"
}

# Functions that depend on the machine. raft/consensus.c and the links are the real side of raft/'s
# interfaces.
check_determinism() {
	need_objects || return
	imports | awk '
		function world(s) {
			return s ~ /^(time|clock|clock_gettime|gettimeofday|clock_boot_ms|clock_boot_us|clock_real_ns|clock_entropy|localtime.*|gmtime.*)$/ ||
				s ~ /^(rand|rand_r|random|srand|srandom|[deljmn]rand48.*|getrandom|getentropy|arc4random.*|uv_random)$/ ||
				s ~ /^(getenv|secure_getenv|gethostname|uname|getpid)$/
		}
		$1 ~ /^store\// && world($2) { print $1 " uses " $2 ": the state machine must be deterministic" }
		$1 ~ /^raft\// && $1 !~ /^raft\/consensus\.c$/ && world($2) {
			print $1 " uses " $2 ": time and chance enter raft/ through its seams"
		}' >"$WORK/out"
	sources store | xargs -r grep -nEw 'float|double' | sed 's/^/floating point in the state machine: /' >>"$WORK/out"
	report "$WORK/out"
}

# A name that a file exports begins with the file's name or with that of a header of its folder (or
# with the plural of either), so it shows where it is declared. The exception is base/base.h, which
# every file uses.
check_names() {
	need_objects || return
	sources | grep '\.h$' >"$WORK/names"
	symbols -g --defined-only | awk -v headers="$WORK/names" '
		function name_of(path) {
			sub(/.*\//, "", path)
			sub(/\.[ch]$/, "", path)
			gsub(/[-.]/, "_", path)
			return path
		}
		function begins(symbol, name) { return index(symbol, name "_") == 1 || index(symbol, name "s_") == 1 }
		BEGIN {
			while ((getline path <headers) > 0) {
				folder = path
				sub(/\/.*/, "", folder)
				names[folder] = names[folder] " " name_of(path)
			}
		}
		$1 ~ /\.pb-c\.c$/ || $1 == "base/base.c" || $2 !~ /^[TDBRC]$/ || $3 == "main" || $3 ~ /^_/ { next }
		{
			folder = $1
			sub(/\/.*/, "", folder)
			n = split(names[folder] " " name_of($1), name, " ")
			for (i = 1; i <= n; i++)
				if (begins($3, name[i]))
					next
			print $1 " exports " $3 ", which begins neither with its name nor with a header\047s"
		}' >"$WORK/out"
	report "$WORK/out"
}

# ---- Headers, words, form ------------------------------------------------------------------------

# The compiler and its flags as make uses them: the command for base/base.o.
compile_command() {
	make -n -B BUILD="$BUILD" COORDFS_DEPS_LATER=1 WERROR=1 V=1 "$BUILD/base/base.o" 2>/dev/null |
		sed -n 's/ -MMD -MP -c -o .*base\.c$//p'
}

check_headers() {
	local command
	command=$(compile_command)
	[ -n "$command" ] || {
		complain "make does not tell how it compiles"
		return
	}
	sources | grep '\.h$' | xargs -P "$(nproc)" -I '{}' sh -c '
		errors=$(echo "#include \"$1\"" | $2 -fsyntax-only -x c - 2>&1) ||
			printf "%s does not compile alone: %s\n" "$1" "$(echo "$errors" | grep -m 1 error)"' \
		- '{}' "$command" >"$WORK/out"
	report "$WORK/out"
}

check_words() {
	(
		sources
		sources tests
	) | xargs grep -nE '\b(TODO|FIXME|XXX|HACK)\b' >"$WORK/out"
	report "$WORK/out"
}

# All of our files that have comments, without the fuzzers' corpus, which is data.
licensed() {
	find Makefile .ci base proto store raft fs daemon cli mount-helper tests tools \
		-path tests/fuzz/corpus -prune -o -type f \
		\( -name '*.[ch]' -o -name '*.sh' -o -name '*.py' -o -name '*.proto' -o -name '*.tbl' \
		-o -name '*.supp' -o -name '*.txt' -o -name Makefile -o -name mutants -o -name run \) -print 2>/dev/null
}

check_licence() {
	licensed | xargs awk '
		function tell() { if (file != "" && !named)
			print file " does not name its licence in line " last ": " want }
		FNR == 1 {
			tell()
			file = FILENAME
			named = 0
			last = file ~ /\.([ch]|proto)$/ ? 1 : 2
			want = "SPDX-License-Identifier: Apache-2.0"
			want = file ~ /\.[ch]$/ ? "/* " want " */" : file ~ /\.proto$/ ? "// " want : "# " want
		}
		FNR <= last && $0 == want { named = 1 }
		END { tell() }' >"$WORK/out"
	[ -e LICENSE ] || echo "there is no LICENSE" >>"$WORK/out"
	report "$WORK/out"
}

# The documents whose names must exist. CHANGELOG.md may name things that are gone.
documents() { find README.md CONTRIBUTING.md SECURITY.md docs -name '*.md' 2>/dev/null | sort; }

# "DOCUMENT:LINE<tab>WORD" for every word between backquotes and every line of a code block.
quoted_words() {
	documents | xargs awk '
		FNR == 1 { block = 0 }
		/^```/ { block = !block; next }
		block || /^(    |\t)/ { print FILENAME ":" FNR "\t" $0; next }
		{
			n = split($0, part, "`")
			for (i = 2; i <= n; i += 2)
				print FILENAME ":" FNR "\t" part[i]
		}'
}

# Every word of the sources and the tests, with "(" if it follows, and the names of the unit tests.
known_words() {
	find tests/unit -name 'test_*.c' 2>/dev/null | sed 's,.*/,,; s/\.c$//'
	find base proto store raft fs daemon cli mount-helper tests tools Makefile -type f \
		! -path 'tests/fuzz/corpus/*' -print0 2>/dev/null |
		xargs -0 cat | grep -aoE '[A-Za-z_][A-Za-z0-9_]*\(?'
}

make_targets() { # of .PHONY lines, continuation lines too
	sed -e ':more' -e '/\\$/{N;s/\\\n//;b more' -e '}' Makefile | sed -n 's/^\.PHONY://p' |
		tr -s ' \t' '\n' | grep -vE '^(FORCE)?$'
}

# Every path in the text "DOCUMENT:LINE<tab>WORDS" that begins with one of our folders must exist.
# It may be a pattern, or lack .c or .h.
missing_paths() {
	local at words word
	while IFS=$'\t' read -r at words; do
		for word in $words; do
			word=${word%%[:,;.)]}
			word=${word%%:[0-9]*}
			[[ $word =~ ^(base|proto|store|raft|fs|daemon|cli|mount-helper|tests|tools|docs|\.ci)/[A-Za-z0-9_.*/-]*$ ]] || continue
			compgen -G "$word" >/dev/null || compgen -G "$word.[ch]" >/dev/null || compgen -G "$word.proto" >/dev/null ||
				echo "$at names $word, which does not exist"
		done
	done
}

check_docs() {
	known_words | LC_ALL=C sort -u >"$WORK/words"
	make_targets | LC_ALL=C sort -u >"$WORK/targets"
	quoted_words >"$WORK/quoted"
	{
		[ -s "$WORK/targets" ] || echo "no target found in the Makefile"
		[ -n "$(documents)" ] || echo "no document found"
		missing_paths <"$WORK/quoted"
		# Links to files.
		documents | xargs grep -nHoE '\]\([A-Za-z0-9_./-]+\)' | while IFS=: read -r file line link; do
			link=${link#](}
			[ -e "$(dirname "$file")/${link%)}" ] || echo "$file:$line links to ${link%)}, which does not exist"
		done
		# Functions, and names with an underscore.
		awk -F '\t' -v table="$WORK/words" '
			BEGIN { while ((getline line <table) > 0) known[line] = 1 }
			{
				n = split($2, word, /[^A-Za-z0-9_()*.\/-]+/)
				for (i = 1; i <= n; i++) {
					name = word[i]
					if (name !~ /^[a-z][a-z0-9_]*(\(\))?$/ || name !~ /_|\(\)/)
						continue
					is_function = sub(/\(\)$/, "", name)
					if (!(name "(" in known) && (is_function || !(name in known)))
						print $1 " names " name ", which is nowhere in the sources"
				}
			}' "$WORK/quoted"
		# Scripts of tests, as NN-name.
		grep -oE '^[^[:blank:]]+|\b[0-9][0-9]-[a-z][a-z-]+\b' "$WORK/quoted" | while read -r word; do
			case $word in
			*:*) at=$word ;;
			*) [ -e "tests/it/$word.sh" ] || echo "$at names the test $word, which does not exist" ;;
			esac
		done
		# Targets of make, here and in its help.
		grep -oE '^[^[:blank:]]+|\bmake [a-z][a-z-]*' "$WORK/quoted" | while read -r word; do
			case $word in
			make\ *) grep -qx "${word#make }" "$WORK/targets" || echo "$at names '$word', which is no target" ;;
			*) at=$word ;;
			esac
		done
		make -s help >"$WORK/help"
		while read -r word; do
			case $word in all | help) continue ;; esac
			grep -qE "make $word( |,|;|:|\$)" "$WORK/help" || echo "make help does not name $word"
		done <"$WORK/targets"
		documents | LC_ALL=C xargs awk '{ n = gsub(/[^\200-\277]/, "&") } n > 100 {
			print FILENAME ":" FNR ": " n " columns, more than 100" }'
	} >"$WORK/out"
	report "$WORK/out"
}

need() {
	command -v "$1" >/dev/null || {
		complain "$1 is not installed: run make lint-deps"
		return 1
	}
}

check_format() {
	need clang-format || return
	(
		sources
		sources tests
	) | xargs clang-format --dry-run -Werror >"$WORK/format" 2>&1 || {
		complain "not as clang-format would write it:"
		grep -E 'error' "$WORK/format" | head -n 20
	}
}

check_cppcheck() {
	local queue
	need cppcheck || return
	# The suppressions, and why:
	#   missingInclude…: system headers are not checked
	#   unmatchedSuppression: a suppression may be needed by only one version of cppcheck
	#   readdirCalled: it demands readdir_r, which is deprecated
	#   negativeIndex: cppcheck does not know that a failed check() ends the program
	#   memleak in the mount helper: the process ends in the next line, or becomes the daemon
	#   HASH_ITER: cppcheck does not read uthash.h; without a definition it gives up on the file
	#   sys/queue.h: the same, but cppcheck may read this header
	queue=$(echo '#include <sys/queue.h>' | gcc -E -M - | tr ' ' '\n' | grep 'sys/queue\.h$')
	{
		echo "#include \"$queue\""
		# An older protobuf-c header rejects the code that protoc-c wrote, and all files
		# that include it.
		echo '#define PROTOBUF_C_VERSION_NUMBER 999999999'
		echo '#define HASH_ITER(hh, head, el, tmp) for ((el) = (tmp) = (head); (el) != 0; (el) = (tmp))'
	} >"$WORK/macros.h"
	# The tests are left out: they do forbidden things on purpose.
	# shellcheck disable=SC2046 # words
	cppcheck -q --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
		-j "$(nproc)" -D_GNU_SOURCE -DFUSE_USE_VERSION=314 -I . -I "$BUILD" --library=posix,gnu,bsd \
		--suppress=missingInclude --suppress=missingIncludeSystem --suppress=unmatchedSuppression \
		--suppress=readdirCalled --suppress=negativeIndex --suppress=memleak:mount-helper/mount.coordfs.c \
		--include="$WORK/macros.h" \
		--suppress='*:*.pb-c.*' \
		$(sources | grep '\.c$') >"$WORK/cppcheck" 2>&1 || {
		complain "cppcheck:"
		cat "$WORK/cppcheck"
	}
}

# A small selection: checks that find bugs and report little else.
TIDY_CHECKS='-*,bugprone-*,clang-analyzer-*,misc-redundant-expression,readability-misleading-indentation'
# Why these are off:
#   easily-swappable-parameters, narrowing-conversions, implicit-widening…: almost every line of C
#   reserved-identifier: _GNU_SOURCE and the names of system headers
#   assignment-in-if-condition, multi-level-implicit-pointer-conversion: a matter of taste
#   insecureAPI.DeprecatedOrUnsafeBufferHandling, .strcpy: demand memcpy_s and strlcpy, which glibc
#     does not have; _FORTIFY_SOURCE and the sanitizers check these writes
#   unix.Malloc, core.NullDereference: wrong about every HASH_DEL and LIST_REMOVE; the tests run with
#     AddressSanitizer, which finds the same faults
#   macro-parentheses, sizeof-expression: the lists of sys/queue.h and uthash
#   unchecked-optional-access, exception-escape …: C++
#   valist.Uninitialized: clang-tidy 14 reports one after every va_start
#   branch-clone: tables of cases that are equal by chance
#   suspicious-include: tests include the .c file that they test
TIDY_OFF='-bugprone-easily-swappable-parameters,-bugprone-narrowing-conversions,
-bugprone-implicit-widening-of-multiplication-result,-bugprone-reserved-identifier,
-bugprone-assignment-in-if-condition,-bugprone-multi-level-implicit-pointer-conversion,
-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling,-bugprone-macro-parentheses,
-clang-analyzer-security.insecureAPI.strcpy,-clang-analyzer-unix.Malloc,-clang-analyzer-core.NullDereference,
-bugprone-sizeof-expression,-clang-analyzer-valist.Uninitialized,-bugprone-branch-clone,-bugprone-suspicious-include'

check_tidy() {
	local command
	need clang-tidy || return
	command=$(compile_command)
	# clang does not know all of gcc's warnings; gcc reports them during the build.
	command=$(tr ' ' '\n' <<<"$command" | tail -n +2 | grep -vE '^-(W|f|O|g)' | tr '\n' ' ')
	# shellcheck disable=SC2086,SC2016 # words; for the inner shell
	sources | grep '\.c$' | xargs -P "$(nproc)" -n 4 sh -c '
		checks=$1 flags=$2
		shift 2
		clang-tidy --quiet --warnings-as-errors="*" --checks="$checks" "$@" -- $flags 2>/dev/null' - \
		"$(tr -d '\n' <<<"$TIDY_CHECKS,$TIDY_OFF")" "$command" >"$WORK/tidy" || {
		complain "clang-tidy:"
		grep -E 'error: ' "$WORK/tidy" | head -n 100
	}
}

check_shell() {
	command -v shellcheck >/dev/null || {
		echo "lint: (shellcheck is not installed: shell scripts are not checked)"
		return
	}
	# The information level concerns style, which the scripts choose themselves.
	find tests tools .ci -type f \( -name '*.sh' -o -name run \) -print0 | xargs -0 shellcheck -S warning >"$WORK/shell" || {
		complain "shellcheck:"
		cat "$WORK/shell"
	}
}

bad=0
for check in "${WANTED[@]}"; do
	before=$found
	found=0
	begin=$SECONDS
	case " $ALL " in
	*" $check "*) "check_$check" ;;
	*) complain "there is no check $check" ;;
	esac
	[ $found = 0 ] || bad=$((bad + 1))
	[ -z "${LINT_TIMES:-}" ] || echo "lint: $check took $((SECONDS - begin)) s"
	[ $before = 0 ] || found=1
done
[ $found = 1 ] || echo "lint: ok (${WANTED[*]})"
echo "$((${#WANTED[@]} - bad)) passed, $bad failed"
exit $found
