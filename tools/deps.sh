#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the packages that coordfs needs on Debian 12 and 13. Usage: tools/deps.sh [--demo]
# [--test] [--lint] [--tree]
#   nothing   the packages for the build
#   --demo    also those for the README's tour
#   --test    also those for the tests
#   --lint    also those for `make lint`
#   --tree    also those for tools/test-debian.sh
# Needs root if a package is missing; otherwise it does nothing. It waits up to five minutes for
# another program that uses apt.
#
# libraft must be exactly 0.22.1. Debian 13 has it; Debian 12 has it in bookworm-backports. The
# script adds that suite as a separate apt source, pinned: only libraft comes from there. The mirror
# is the one that the machine's apt configuration uses for bookworm.
set -eu

RAFT_VERSION=0.22.1
BUILD='gcc make pkg-config libc6-dev libfuse3-dev fuse3 libraft-dev libuv1-dev libsqlite3-dev
       libprotobuf-c-dev protobuf-c-compiler libxxhash-dev libjansson-dev uthash-dev libmount-dev
       libsmartcols-dev libsystemd-dev'
DEMO='inotify-tools util-linux diffutils procps'
TEST='libcmocka-dev attr acl inotify-tools iproute2 nftables jq sqlite3 procps util-linux
      rsync diffutils e2fsprogs git python3-minimal vim-tiny faketime
      entr python3-watchdog node-chokidar incron dnsmasq-base moreutils curl wget openssl strace cron'
TREE='debootstrap rsync util-linux'
LINT='clang clang-format clang-tidy cppcheck binutils shellcheck'

SOURCES=/etc/apt/sources.list.d/coordfs-backports.sources
PINS=/etc/apt/preferences.d/coordfs-backports

say() { echo "deps: $*"; }
fail() { echo "deps: $*" >&2; exit 1; }

apt() { apt-get -qq -o DPkg::Lock::Timeout=300 "$@"; }

installed() { # PACKAGE
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

upstream() { # VERSION without Debian's epoch and revision
	version=${1#*:}
	echo "${version%%[-~+]*}"
}

raft_installed() {
	installed libraft-dev &&
		[ "$(upstream "$(dpkg-query -W -f '${Version}' libraft-dev)")" = "$RAFT_VERSION" ]
}

missing() { # the packages of LIST that are not there (libraft-dev also if it has another version)
	for package in "$@"; do
		if [ "$package" = libraft-dev ]; then
			raft_installed || echo "$package"
		else
			installed "$package" || echo "$package"
		fi
	done
}

# Adds bookworm-backports, from the mirror that this machine uses for bookworm.
add_backports() {
	site=$(apt-get indextargets --format '$(SITE)' \
		'Created-By: Packages' 'Codename: bookworm' 'Label: Debian' 2>/dev/null | sort -u | head -n 1)
	[ -n "$site" ] || fail "no apt source for Debian bookworm found: add bookworm-backports by hand"
	say "adding bookworm-backports for libraft"
	cat >"$SOURCES" <<-END
		# Added by coordfs (make deps): only libraft comes from here, see $PINS
		Types: deb
		URIs: $site
		Suites: bookworm-backports
		Components: main
		Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
	END
	cat >"$PINS" <<-END
		Package: *
		Pin: release n=bookworm-backports
		Pin-Priority: -1

		Package: libraft0 libraft-dev
		Pin: release n=bookworm-backports
		Pin-Priority: 990
	END
}

# The Debian version of this libraft that apt knows, or nothing.
raft_candidate() {
	apt-cache madison libraft-dev | awk '{ print $3 }' | while read -r candidate; do
		[ "$(upstream "$candidate")" != "$RAFT_VERSION" ] || echo "$candidate"
	done | head -n 1
}

want=$BUILD
for arg in "$@"; do
	case $arg in
	--demo) want="$want $DEMO" ;;
	--test) want="$want $TEST" ;;
	--tree) want="$want $TREE" ;;
	--lint) want="$want $LINT" ;;
	*) fail "unknown option $arg" ;;
	esac
done

# shellcheck disable=SC2086 # a list of words
todo=$(missing $want)
[ -n "$todo" ] || exit 0

[ "$(id -u)" = 0 ] || fail "root is needed to install:" $todo
command -v apt-get >/dev/null || fail "this script knows Debian's apt only; needed are:" $todo
export DEBIAN_FRONTEND=noninteractive
say "installing" $todo
apt update || fail "apt-get update failed"
case $todo in
*libraft-dev*)
	raft=$(raft_candidate)
	if [ -z "$raft" ]; then
		. /etc/os-release
		[ "${VERSION_CODENAME:-}" = bookworm ] ||
			fail "${PRETTY_NAME:-this system} has no libraft $RAFT_VERSION: build it from its source," \
				"install it and set PKG_CONFIG_PATH to the folder of its raft.pc"
		add_backports
		apt update || fail "apt-get update failed"
		raft=$(raft_candidate)
		[ -n "$raft" ] || fail "bookworm-backports has no libraft $RAFT_VERSION"
	fi
	# shellcheck disable=SC2086
	todo=$(printf '%s\n' $todo | sed "s/^libraft-dev$/libraft-dev=$raft libraft0=$raft/")
	;;
esac
# shellcheck disable=SC2086
apt install -y --no-install-recommends --allow-downgrades $todo >/dev/null || fail "the installation failed"
# shellcheck disable=SC2086
still=$(missing $want)
[ -z "$still" ] || fail "still missing after the installation:" $still
