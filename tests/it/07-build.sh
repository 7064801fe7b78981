#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The build: which files are compiled again and when, which files are installed, which libraft is
# accepted, and how packages are installed. In a copy of the sources, so the build under test does
# not change.
. "$(dirname "$0")/lib.sh"

need_tool make gcc pkg-config protoc-c
unset MAKEFLAGS MFLAGS MAKEOVERRIDES CFLAGS LDFLAGS CC
C=$T/copy
O=build
mkdir -p "$C/tests"
cp -a "$SRC/Makefile" "$SRC/tools" "$SRC"/{base,proto,store,raft,fs,daemon,cli,mount-helper} "$C/"
cp -a "$SRC"/tests/{fuzz,unit,lib,tools,sim} "$C/tests/"

# compiled FILE… -- ARGUMENT…: make with these arguments compiles exactly these files.
compiled() {
	local want=()
	while [ "$1" != -- ]; do
		want+=("$1")
		shift
	done
	shift
	exits 0 make -C "$C" BUILD=$O COORDFS_DEPS_LATER=1 "$@"
	equal "$(awk '$1 == "CC" { print $2 }' <<<"$OUT" | LC_ALL=C sort | paste -sd ' ')" "${want[*]}" "compiled by make $*"
}

say "other flags: everything is compiled again"
one=("$O/base/buf.o" "$O/base/log.o")
compiled base/buf.c base/log.c -- "${one[@]}"
compiled -- "${one[@]}"
compiled base/buf.c base/log.c -- CFLAGS='-g -DIT="x y"' "${one[@]}"
compiled -- CFLAGS='-g -DIT="x y"' "${one[@]}"
compiled base/buf.c base/log.c -- LDFLAGS=-s "${one[@]}"
compiled base/buf.c base/log.c -- "${one[@]}"

say "headers: the files that include them are compiled again, in tests and fuzzers too"
objects=("$O/base/buf.o" "$O/tests/fuzz/fuzz_stamp.o" "$O/tests/unit/test_frame.o")
compiled tests/fuzz/fuzz_stamp.c tests/unit/test_frame.c -- "${objects[@]}"
compiled -- "${objects[@]}"
touch "$C/tests/fuzz/fuzz.h"
compiled tests/fuzz/fuzz_stamp.c -- "${objects[@]}"
touch "$C/base/buf.h"
compiled base/buf.c tests/unit/test_frame.c -- "${objects[@]}"

say "install and uninstall"
root=$T/root
(cd "$C" && make -s -o all BUILD="$BUILD" DESTDIR="$root" PREFIX=/usr install)
equal "$(cd "$root" && find . ! -type d | LC_ALL=C sort | paste -sd ' ')" \
	'./sbin/mount.coordfs ./sbin/mount.fuse.coordfs ./usr/bin/coordfs ./usr/include/coordfs/ioctl.h ./usr/sbin/coordfsd' \
	"the installed files"
"$root/usr/bin/coordfs" --help >/dev/null
echo '#include <coordfs/ioctl.h>
int main(void) { return sizeof(struct coordfs_ioc_create) > 260 ? 0 : 1; }' >"$T/uses.c"
gcc -Wall -Wextra -Werror -I "$root/usr/include" -o "$T/uses" "$T/uses.c"
"$T/uses"
touch "$root/usr/include/coordfs/another.h"
(cd "$C" && make -s DESTDIR="$root" PREFIX=/usr uninstall)
equal "$(cd "$root" && find . ! -type d)" ./usr/include/coordfs/another.h "the remaining file, which belongs to another program"
(cd "$C" && make -s DESTDIR="$root" PREFIX=/usr uninstall)

say "another version of libraft is refused, with a remedy"
mkdir "$T/pc"
for version in 0.22.0 0.22.2 0.23.0; do
	sed "s/^Version:.*/Version: $version/" "$(pkg-config --variable=pcfiledir raft)/raft.pc" >"$T/pc/raft.pc"
	PKG_CONFIG_PATH=$T/pc exits 2 make -C "$C" all
	matches "$ERR" "libraft $version is installed, but coordfs needs exactly 0\.22\.1.*make deps" "the message"
done

say "apt waits for its lock; libraft is installed by its version"
mkdir "$T/bin"
export APT=$T/apt
fake() { # NAME SCRIPT
	printf '#!/bin/sh\n%s\n' "$2" >"$T/bin/$1"
	chmod 755 "$T/bin/$1"
}
fake apt-get 'echo "$*" >>"$APT"; case "$*" in *" install "*) touch "$APT.installed" ;; esac'
fake apt-cache 'echo " libraft-dev | 0.22.10-1 | x"; echo " libraft-dev | 1:0.22.1-3 | x"'
# Only libraft is missing: another version is installed at first.
fake dpkg-query 'case "$*" in *Status*) printf installed ;;
*) [ -e "$APT.installed" ] && printf 0.22.1-3 || printf 0.22.10-1 ;; esac'
PATH=$T/bin:$PATH exits 0 "$C/tools/deps.sh"
matches "$(cat "$APT")" 'install .*libraft-dev=1:0\.22\.1-3 libraft0=1:0\.22\.1-3' "the arguments of apt-get"
equal "$(grep -c . "$APT")" "$(grep -c 'DPkg::Lock::Timeout=300' "$APT")" "calls of apt-get that wait for the lock"
rm "$APT"
PATH=$T/bin:$PATH exits 0 "$C/tools/deps.sh" --demo
[ ! -e "$APT" ] || fail "apt-get is called although nothing is missing: $(cat "$APT")"
fake dpkg-query 'case "$*" in *Status*inotify-tools) ;; *Status*) printf installed ;; *) printf 0.22.1-3 ;; esac'
PATH=$T/bin:$PATH exits 1 "$C/tools/deps.sh" --demo
matches "$(cat "$APT")" 'install .* inotify-tools$' "the packages for the demo"
