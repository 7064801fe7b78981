#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Three members on 127.0.0.1 and three mounts of one tree, to try coordfs on one machine.
#
# Usage: tools/demo.sh start BUILD DIR
#        tools/demo.sh stop BUILD DIR [--purge]
#
# The mounts are DIR/1 DIR/2 DIR/3, the databases DIR/state-1 …, the logs DIR/log-1 … Ports:
# DEMO_PORT (7411) and the next two. start does nothing for members that are running. stop keeps the
# data for the next start, unless --purge is given.
set -u

usage() {
	sed -n '3,/^set -u/s/^# \{0,1\}//p' "$0" >&2
	exit 1
}

[ $# -ge 3 ] || usage
ACTION=$1
BUILD=$2
DIR=$3
PURGE=${4:-}
PORT=${DEMO_PORT:-7411}
ADDRESS=${DEMO_ADDRESS:-127.0.0.1}
MEMBERS='1 2 3'

say() { echo "demo: $*"; }
fail() {
	echo "demo: $*" >&2
	exit 1
}

[ "$(id -u)" = 0 ] || fail "root is needed to mount"

# The pid of member N, if it is running.
pid_of() {
	local pid
	pid=$(cat "$DIR/state-$1/coordfsd.pid" 2>/dev/null) || return 1
	tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$DIR/state-$1" && echo "$pid"
}

mounted() { # the kernel writes a space in a path as \040
	awk -v dir="${1// /\\\\040}" '$5 == dir { found = 1 } END { exit !found }' /proc/self/mountinfo
}

# A port counts as free if no program answers; the daemon reports any other problem.
taken() { (exec 3<>"/dev/tcp/$ADDRESS/$1") 2>/dev/null; }

running() {
	local n
	for n in $MEMBERS; do
		! pid_of "$n" >/dev/null || echo "$n"
	done
}

start_member() {
	local n=$1 other args
	args=(--name demo --id "$n" --state "$DIR/state-$n" --mount "$DIR/$n" --log "$DIR/log-$n"
		--listen "$ADDRESS:$((PORT + n - 1))")
	for other in $MEMBERS; do
		[ "$other" = "$n" ] || args+=(--peer "$other=$ADDRESS:$((PORT + other - 1))")
	done
	# A mount that a killed daemon has left.
	! mounted "$DIR/$n" || umount -f -l "$DIR/$n"
	mkdir -p "$DIR/state-$n" "$DIR/$n"
	"$BUILD/coordfsd" "${args[@]}" || fail "member $n did not start; see $DIR/log-$n"
}

leader() {
	"$BUILD/coordfs" status "$DIR/1" 2>/dev/null | sed -n 's/^leader *\([0-9][0-9]*\).*/\1/p'
}

wait_for_leader() {
	local tries
	for ((tries = 0; tries < 200; tries++)); do
		[ -z "$(leader)" ] || return 0
		sleep 0.1
	done
	fail "no leader after 20 s: see $DIR/log-1"
}

explain() {
	cat <<-END

		The same directory, three times: $DIR/1 $DIR/2 $DIR/3   (member $(leader) leads). Try:

		  echo hello > $DIR/1/greeting; cat $DIR/2/greeting $DIR/3/greeting
		  cp -a /etc $DIR/2/etc && diff -r --no-dereference /etc $DIR/3/etc && echo the same
		  $BUILD/coordfs status $DIR/1
		  kill -9 \$(cat $DIR/state-$(leader)/coordfsd.pid)      # the leader; then write through another mount
		  make demo                                    # starts what is missing again
		  make demo-stop                               # stops and unmounts; the data stay in $DIR
	END
}

start() {
	local n started=()
	[ -x "$BUILD/coordfsd" ] || fail "$BUILD/coordfsd is not there: run make first"
	[ -c /dev/fuse ] || modprobe fuse 2>/dev/null
	[ -c /dev/fuse ] || fail "this machine has no /dev/fuse"
	mkdir -p "$DIR" || exit 1
	DIR=$(realpath "$DIR")
	for n in $MEMBERS; do
		pid_of "$n" >/dev/null && continue
		! taken $((PORT + n - 1)) ||
			fail "port $((PORT + n - 1)) is in use by another program: choose other ports with DEMO_PORT=N make demo"
	done
	for n in $MEMBERS; do
		if pid_of "$n" >/dev/null; then
			say "member $n is running already"
		else
			start_member "$n" & # it is mounted when a majority answers
			started+=("$n $!")
		fi
	done
	for n in "${started[@]}"; do
		wait "${n#* }" || exit 1
		say "member ${n% *} started, mounted at $DIR/${n% *}"
	done
	wait_for_leader
	[ ${#started[@]} -gt 0 ] || say "all members run already"
	explain
}

stop_member() {
	local n=$1 pid tries
	if pid=$(pid_of "$n"); then
		kill -TERM "$pid"
		for ((tries = 0; tries < 100; tries++)); do
			pid_of "$n" >/dev/null || break
			sleep 0.1
		done
		! pid_of "$n" >/dev/null || fail "member $n (pid $pid) does not stop; see $DIR/log-$n"
		say "member $n stopped"
	fi
	! mounted "$DIR/$n" || umount -f -l "$DIR/$n"
}

stop() {
	local n
	if [ ! -d "$DIR" ]; then
		say "nothing to stop in $DIR"
		exit 0
	fi
	DIR=$(realpath "$DIR")
	[ -n "$(running)" ] || say "no member runs in $DIR"
	for n in $MEMBERS; do
		stop_member "$n"
	done
	if [ "$PURGE" = --purge ]; then
		for n in $MEMBERS; do
			rm -rf "$DIR/state-$n" "$DIR/log-$n"
			rmdir "$DIR/$n" 2>/dev/null
		done
		rmdir "$DIR" 2>/dev/null
		say "data removed"
	fi
}

case $ACTION in
start) start ;;
stop) stop ;;
*) usage ;;
esac
