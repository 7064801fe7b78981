#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what coordfs needs to build (and, with --test, to be tested) on Debian 12 and 13.
# Usage: tools/deps.sh [--test] [--lint]      (root; does nothing when everything is there)
#
# libraft must be 0.22.1 or newer. Debian 13 has it; Debian 12 has it in bookworm-backports, which
# this script adds as an apt source of its own, pinned so that nothing but libraft comes from there.
# The mirror is whatever the machine's own apt configuration uses for bookworm.
set -eu

RAFT_MIN=0.22.1
BUILD='gcc make pkg-config libc6-dev libfuse3-dev fuse3 libraft-dev libuv1-dev libsqlite3-dev
       libprotobuf-c-dev protobuf-c-compiler libxxhash-dev libjansson-dev uthash-dev libmount-dev
       libsmartcols-dev libsystemd-dev'
TEST='libcmocka-dev attr acl inotify-tools iproute2 nftables jq sqlite3 procps util-linux
      rsync diffutils git python3-minimal vim-tiny faketime
      entr python3-watchdog node-chokidar incron dnsmasq-base moreutils curl wget openssl strace'
LINT='clang clang-format clang-tidy cppcheck binutils shellcheck'

SOURCES=/etc/apt/sources.list.d/coordfs-backports.sources
PINS=/etc/apt/preferences.d/coordfs-backports

say() { echo "deps: $*"; }
fail() { echo "deps: $*" >&2; exit 1; }

installed() { # is PACKAGE installed?
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

raft_new_enough() {
	version=$(dpkg-query -W -f '${Version}' libraft-dev 2>/dev/null) || return 1
	dpkg --compare-versions "$version" ge "$RAFT_MIN"
}

missing() { # the packages of LIST that are not there (libraft-dev also when it is too old)
	for package in "$@"; do
		if [ "$package" = libraft-dev ]; then
			raft_new_enough || echo "$package"
		else
			installed "$package" || echo "$package"
		fi
	done
}

# Adds bookworm-backports from the mirror that this machine uses for bookworm itself.
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

raft_candidate_ok() {
	candidate=$(apt-cache policy libraft-dev | sed -n 's/^  Candidate: //p')
	[ -n "$candidate" ] && dpkg --compare-versions "$candidate" ge "$RAFT_MIN"
}

want=$BUILD
for arg in "$@"; do
	case $arg in
	--test) want="$want $TEST" ;;
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
apt-get update -qq || fail "apt-get update failed"
case $todo in
*libraft-dev*)
	if ! raft_candidate_ok; then
		. /etc/os-release
		[ "${VERSION_CODENAME:-}" = bookworm ] || fail "libraft >= $RAFT_MIN is not available on ${PRETTY_NAME:-this system}"
		add_backports
		apt-get update -qq || fail "apt-get update failed"
		raft_candidate_ok || fail "bookworm-backports has no libraft >= $RAFT_MIN"
	fi
	;;
esac
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $todo >/dev/null || fail "installing failed"
# shellcheck disable=SC2086
still=$(missing $want)
[ -z "$still" ] || fail "still missing after the installation:" $still
