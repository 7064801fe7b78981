#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the tests in a fresh tree of a Debian release, on any machine.
#
# Usage: tools/test-debian.sh BUILD RELEASE [unit|it|NAME]...  (make test-debian RELEASE=trixie)
#
# debootstrap makes the tree from the mirror that this machine's apt uses. tools/deps.sh --test
# installs the packages for the tests in it; then `make test` runs in it (tests/run.sh, if tests are
# named). The tests have their own processes, mounts, network, /run, and a /tmp on tmpfs. The kernel
# is this machine's. A test that cannot run is a failure. The tests' output is in
# BUILD/test-logs-RELEASE.
#
# The tree is removed at the end, after success and failure. DEBIAN_TREE=DIR keeps it in DIR, where
# the next run uses it again and builds only what has changed. JOBS as for tests/run.sh.
set -eu

usage() {
	sed -n '3,/^set -eu/s/^# \{0,1\}//p' "$0" >&2
	exit 2
}
say() { echo "test-debian: $*"; }
fail() {
	echo "test-debian: $*" >&2
	exit 1
}

[ $# -ge 2 ] && [ -n "$2" ] || usage
[ "$(id -u)" = 0 ] || fail "root is needed"
SRC=$(cd "$(dirname "$0")/.." && pwd)
BUILD=$1
RELEASE=$2
shift 2

INSIDE= # the unshare(1) that runs now
TREE=   # set by choose_tree
TREE_IS_OURS=

choose_tree() {
	if [ -n "${DEBIAN_TREE:-}" ]; then
		mkdir -p "$DEBIAN_TREE"
		TREE=$(cd "$DEBIAN_TREE" && pwd)
		[ ! -e "$TREE/.coordfs-$RELEASE" ] || return 0
		[ -z "$(ls -A "$TREE")" ] || fail "$TREE is not empty, and no tree of $RELEASE that this script has made"
	else
		TREE=$(mktemp -d "${TMPDIR:-/var/tmp}/coordfs-$RELEASE.XXXXXX")
		TREE_IS_OURS=1
	fi
	chmod 755 "$TREE"
}

# All mounts and processes are in the namespaces of `inside`: at its end, they end, too.
remove_all() {
	[ -z "$INSIDE" ] || end_inside
	[ -z "$TREE_IS_OURS" ] || rm -rf --one-file-system "$TREE"
}

# Asks the first process of the namespaces to end, so that the tests can remove their leftovers.
end_inside() {
	local init
	init=$(cat "/proc/$INSIDE/task/$INSIDE/children" 2>/dev/null) || true
	# shellcheck disable=SC2086 # one pid, and a space
	[ -z "$init" ] || kill -TERM $init 2>/dev/null || true
	timeout 60 tail --pid="$INSIDE" -s 0.1 -f /dev/null || kill -KILL "$INSIDE" 2>/dev/null || true
	wait "$INSIDE" || true
	INSIDE=
}

# isolated FLAGS… -- COMMAND…: runs the command in new mount and process namespaces.
isolated() {
	local flags=() rc=0
	while [ "$1" != -- ]; do
		flags+=("$1")
		shift
	done
	shift
	unshare --mount --propagation private --pid --fork --kill-child "${flags[@]}" -- \
		bash -c 'trap "kill -TERM -1; wait; exit 143" TERM; "$@" & wait $!' init "$@" </dev/null &
	INSIDE=$!
	wait "$INSIDE" || rc=$?
	INSIDE=
	return $rc
}

# Mounts the usual filesystems of a system, in the namespaces of `isolated`, and runs a command in
# the tree.
# shellcheck disable=SC2016 # expanded inside
ENTER='
	tree=$1
	shift
	mount --bind "$tree" "$tree" # unshare -m wants a mount at /
	mount -t proc proc "$tree/proc"
	mount -t sysfs sysfs "$tree/sys"
	mount -t fusectl fusectl "$tree/sys/fs/fuse/connections" 2>/dev/null || true
	mount -t devtmpfs devtmpfs "$tree/dev"
	mount -t tmpfs -o mode=1777 tmpfs "$tree/dev/shm"
	mount -t devpts -o newinstance,ptmxmode=666 devpts "$tree/dev/pts"
	mount -t tmpfs -o mode=755 tmpfs "$tree/run"
	mount -t tmpfs -o mode=1777 tmpfs "$tree/tmp"
	mkdir "$tree/run/lock"
	chroot "$tree" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		HOME=/root LC_ALL=C.UTF-8 CI=true ${JOBS:+JOBS=$JOBS} ${http_proxy:+http_proxy=$http_proxy} "$@"
'

# in_tree FLAGS… -- COMMAND…
in_tree() {
	local flags=()
	while [ "$1" != -- ]; do
		flags+=("$1")
		shift
	done
	shift
	isolated "${flags[@]}" -- bash -euc "$ENTER" enter "$TREE" "$@"
}

# The mirror that apt uses for Debian itself, and the proxy, if any.
find_mirror() {
	local proxy=''
	MIRROR=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Label: Debian' 2>/dev/null |
		sort -u | head -n 1)
	[ -n "$MIRROR" ] || fail "apt has no source of Debian packages: run apt-get update"
	eval "$(apt-config shell proxy Acquire::http::Proxy)"
	[ -z "$proxy" ] || export http_proxy=$proxy
}

# No service of a package may start in the tree.
make_tree() {
	[ ! -e "$TREE/.coordfs-$RELEASE" ] || return 0
	say "making a tree of Debian $RELEASE in $TREE"
	isolated -- debootstrap --variant=minbase "$RELEASE" "$TREE" "$MIRROR" >"$TREE.log" 2>&1 || {
		tail -n 20 "$TREE.log" >&2
		rm -f "$TREE.log"
		fail "debootstrap failed"
	}
	rm -f "$TREE.log"
	printf '#!/bin/sh\nexit 101\n' >"$TREE/usr/sbin/policy-rc.d"
	chmod 755 "$TREE/usr/sbin/policy-rc.d"
	mkdir "$TREE/src"
	touch "$TREE/.coordfs-$RELEASE"
}

# A file that differs gets the present time, so that make builds again after any edit.
copy_sources() {
	rsync -rlpgoDc --delete --exclude '/build*' --exclude '/.git' "$SRC/" "$TREE/src/"
}

# The tests have a separate network; everything that they need was installed before.
run_tests() {
	local inside='ip link set lo up; cd /src; if [ $# = 0 ]; then exec make test; fi
		make all tests tools; exec tests/run.sh build "$@"'
	rm -rf "$BUILD/test-logs-$RELEASE"
	in_tree --net --uts --ipc -- bash -euc "$inside" tests "$@" || rc=$?
	[ ! -d "$TREE/src/build/test-logs" ] || {
		mkdir -p "$BUILD"
		cp -r "$TREE/src/build/test-logs" "$BUILD/test-logs-$RELEASE"
	}
}

# One compound command: bash reads all of this file before it runs, so the file may change.
{
	trap remove_all EXIT
	trap 'exit 143' TERM INT HUP
	rc=0
	choose_tree
	find_mirror
	make_tree
	copy_sources
	say "installing the packages for the tests"
	in_tree -- bash -euc 'cd /src && tools/deps.sh --test' || fail "tools/deps.sh --test failed in the tree"
	say "running the tests"
	run_tests "$@"
	exit $rc
}
