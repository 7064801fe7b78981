# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Shared by the integration tests. Each script begins with
#
#	. "$(dirname "$0")/lib.sh"
#
# and then has: $T, its own directory, which is removed at the end; members numbered 1, 2, 3 … with
# their state in ${STATE[i]}, their mount at ${MNT[i]} and their address in ${ADDR[i]}; and the
# functions below. Any command that fails ends the test, unless it is part of a condition.
#
# At the end of a successful test, all running members are stopped by SIGTERM and must then be gone
# and unmounted, and `coordfs check` must find no fault in any database of the test. No sanitizer
# may have reported anything. After a failure the members' logs are kept in BUILD/test-logs.
#
# Run by tests/run.sh, or by hand: tests/it/01-single.sh (default: BUILD=build).

set -eEu -o pipefail
umask 022

SRC=${SRC:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
BUILD=${BUILD:-$SRC/build}
BUILD=$(cd "$BUILD" && pwd)
# shellcheck disable=SC2034 # used by the scripts
TOOLS=$BUILD/tests # the programs of the tests: tests/tools/*.c
DAEMON=$BUILD/coordfsd # a script may use another one
NAME=$(basename "$0" .sh)
T=$(mktemp -d "${TMPDIR:-/tmp}/cfs-$NAME.XXXXXX")
chmod 711 "$T" # other users reach the mounts
RUN=${COORDFS_TEST_RUN:-$$-$RANDOM}
export COORDFS_TEST_RUN=$RUN
# Sanitizers make everything slower, so the tests wait longer.
case ${BUILD##*/} in
*-*) WAIT_FACTOR=${WAIT_FACTOR:-4} ;;
*) WAIT_FACTOR=${WAIT_FACTOR:-1} ;;
esac

CLUSTER=it-$NAME
N=0          # members of the cluster
STATE=()     # by member number, which begins at 1
MNT=()       # "" for a member without a mount
ADDR=()
NETNS=()     # by member number; empty: the host's own network
NETWORKS=()  # network namespaces to delete
AT_END=()    # functions of the script to call at the end, after success and failure
CHILDREN=()  # pids of this script's background processes
# For all members; member_start takes further options. On a busy machine there are elections, and a
# change may wait for one. If it must not, the test sets other options.
DAEMON_OPTS=(--election-timeout 1000 --timeout 60)

# Sanitized builds write their reports to files, because a daemon has no stderr.
export ASAN_OPTIONS="log_path=$T/sanitizer${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export UBSAN_OPTIONS="log_path=$T/sanitizer:print_stacktrace=1"
export TSAN_OPTIONS="log_path=$T/sanitizer:suppressions=$SRC/tests/tsan.supp"

# ---- Messages, failures, skips -------------------------------------------------------------------

say() { echo "[$SECONDS s] $*"; }

# Prints a figure for the reader of the test run.
result() { echo "RESULT: $*"; }

# Ends the test; prints the line of the script that led here.
fail() {
	local n=1
	while [ "${BASH_SOURCE[n]##*/}" = lib.sh ] && [ $n -lt $((${#BASH_SOURCE[@]} - 1)) ]; do
		n=$((n + 1))
	done
	echo "FAIL: ${BASH_SOURCE[n]##*/}:${BASH_LINENO[n - 1]}: $*" >&2
	exit 1
}

skip() {
	echo "SKIP: $*"
	exit 77
}

# For something that no package provides.
skip_machine() {
	echo "SKIP-MACHINE: $*"
	exit 77
}

need_root() { [ "$(id -u)" = 0 ] || skip "root is needed"; }

need_tool() {
	local tool
	for tool in "$@"; do
		command -v "$tool" >/dev/null || skip "$tool is not installed"
	done
}

need_fuse() {
	need_root
	[ -c /dev/fuse ] || modprobe fuse 2>/dev/null || true
	[ -c /dev/fuse ] || skip_machine "there is no /dev/fuse"
	: 2>/dev/null <>/dev/fuse || skip_machine "/dev/fuse cannot be opened"
	need_tool jq
}

need_mount_namespace() {
	need_root
	unshare -m true 2>/dev/null || skip_machine "no mount namespaces here"
}

need_network_namespace() {
	need_root
	need_tool ip nft nsenter
	unshare -n true 2>/dev/null || skip_machine "no network namespaces here"
	unshare -n nft add table inet probe 2>/dev/null || skip_machine "no nftables in the kernel"
}

# Runs a command as another user. In a build for coverage, the command writes its counts to a
# directory that this user may write.
as_user() { # UID COMMAND…
	[ -d "$T/counts" ] || mkdir -m 1777 "$T/counts"
	GCOV_PREFIX=$T/counts setpriv --reuid "$1" --regid "$1" --clear-groups "${@:2}"
}

# Makes an ext4 filesystem at DIR (in $T) to compare with. The filesystem at TMPDIR may be a tmpfs,
# which behaves differently.
local_disk() { # DIR
	need_tool mkfs.ext4
	[ -e /dev/loop-control ] || modprobe loop 2>/dev/null || skip_machine "there are no loop devices"
	mkdir -p "$1"
	truncate -s 1G "$1.image"
	mkfs.ext4 -q -F -b 4096 "$1.image"
	mount -o loop "$1.image" "$1"
	rm "$1.image"
	rmdir "$1/lost+found"
}

# ---- Assertions ----------------------------------------------------------------------------------

# equal GOT WANTED WHAT
equal() {
	[ "$1" = "$2" ] || fail "$3: '$1', expected '$2'"
}

# at_most NUMBER LIMIT WHAT
at_most() {
	[ "$1" -le "$2" ] || fail "$3: $1, at most $2 expected"
}

# matches TEXT REGEX WHAT
matches() {
	grep -Eq -- "$2" <<<"$1" || fail "$3: '$1' does not match '$2'"
}

# exits CODE COMMAND…: the command ends with that status. Its stderr is in $ERR, its stdout in $OUT.
exits() {
	local want=$1 rc=0
	shift
	OUT=$("$@" 2>"$T/stderr") || rc=$?
	ERR=$(cat "$T/stderr")
	[ $rc = "$want" ] || fail "'$*' ended with status $rc, not $want; stderr: $ERR; stdout: $(tail -n 20 <<<"$OUT")"
}

# The command of the last `exits` printed exactly one line on stderr, which matches REGEX.
one_line() {
	[ "$(wc -l <"$T/stderr")" = 1 ] || fail "stderr is not one line: '$ERR'"
	grep -Eiq -- "$1" "$T/stderr" || fail "'$ERR' does not match '$1'"
}

# says WORDS COMMAND…: the command fails with these words, for example says 'File too large'
# truncate …
says() {
	local want=$1
	shift
	! LC_ALL=C "$@" >"$T/said" 2>&1 || fail "'$*' succeeded, expected: $want"
	grep -Fqi -- "$want" "$T/said" || fail "'$*' printed '$(cat "$T/said")', expected: $want"
}

# until_true SECONDS COMMAND…: repeats the command until it succeeds, for three times as long on a
# busy machine.
until_true() {
	local end=$((SECONDS + $1 * WAIT_FACTOR * 3))
	shift
	until "$@"; do
		[ $SECONDS -le $end ] || fail "timed out waiting for: $*"
		sleep 0.05
	done
}

now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

# leader_gap AFTER_MS HOW…: HOW and the leader's pid are given to the tool gap, with the mounts of
# all other members. The figure is added to GAPS; the leader, whose process has ended, is in LEADER.
leader_gap() {
	local after=$1 how=$2 what=${3:-} i pid mounts=()
	wait_equal
	LEADER=$(wait_leader)
	for i in $(running); do
		[ "$i" = "$LEADER" ] || mounts+=("${MNT[$i]}")
	done
	pid=$(member_pid "$LEADER")
	"$TOOLS/gap" 300 "$after" "$how" "$what$pid" "${mounts[@]}" | tee "$T/gap"
	GAPS+=("$(sed 's/^gap_ms \([0-9.]*\) .*/\1/' "$T/gap")")
	until_true 20 gone "$pid"
}

# median_max NUMBER…: "median max"
median_max() {
	printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)], v[NR] }'
}

# ---- Members -------------------------------------------------------------------------------------

# An address to listen on that no other process uses: all of 127/8 belongs to this machine, and the
# pid selects the address. It is not for outgoing connections, which come from 127.0.0.1.
address() { # NUMBER, 0 to 15
	echo "127.$((1 + ($$ >> 12) % 254)).$((($$ >> 4) & 255)).$((($$ & 15) * 16 + $1))"
}

# Sets up N members (numbers 1..N) without starting them.
define_cluster() {
	local i
	N=$1
	for ((i = 1; i <= N; i++)); do
		STATE[i]=$T/state-$i
		MNT[i]=$T/m$i
		ADDR[i]=${ADDR[i]:-$(address "$i"):7410}
		mkdir -p "${STATE[i]}" "${MNT[i]}"
	done
}

# Sets ARGS to the command line of member i.
member_args() {
	local i=$1 j
	ARGS=(--name "$CLUSTER" --id "$i" --state "${STATE[i]}" --log "$T/log-$i")
	[ -z "${MNT[i]}" ] || ARGS+=(--mount "${MNT[i]}")
	[ "$N" = 1 ] || ARGS+=(--listen "${ADDR[i]}")
	for ((j = 1; j <= N; j++)); do
		[ "$j" = "$i" ] || ARGS+=(--peer "$j=${ADDR[j]}")
	done
	ARGS+=("${DAEMON_OPTS[@]}")
}

# Starts member i with further options; its mount is usable when this returns.
member_start() {
	local i=$1 rc=0
	shift
	member_args "$i"
	CUT_STATE=${STATE[i]} in_network "$i" timeout $((60 * WAIT_FACTOR)) "$DAEMON" "${ARGS[@]}" "$@" \
		>"$T/start-$i" 2>&1 </dev/null || rc=$?
	[ $rc = 0 ] || fail "member $i did not start ($rc): $(cat "$T/start-$i")"
	! grep -v 'warning: no majority of the members has answered' "$T/start-$i" ||
		fail "member $i printed a message: $(cat "$T/start-$i")"
	[ -z "${MNT[i]}" ] || [ "$(stat -f -c %T "${MNT[i]}")" = fuseblk ] ||
		mountpoint -q "${MNT[i]}" || fail "member $i started but ${MNT[i]} is not mounted"
}

# Starts several members at the same time: members_start 1 2 3 [-- option…]
members_start() {
	local i wait=() rc=0
	local members=()
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		members+=("$1")
		shift
	done
	[ $# = 0 ] || shift
	for i in "${members[@]}"; do
		member_start "$i" "$@" &
		wait+=($!)
	done
	for i in "${wait[@]}"; do
		wait "$i" || rc=1
	done
	[ $rc = 0 ] || exit 1
}

# start_cluster N [option…]: defines N members, starts them, and waits for a leader.
start_cluster() {
	define_cluster "$1"
	shift
	members_start $(seq 1 "$N") -- "$@"
	wait_leader >/dev/null
}

member_pid() { cat "${STATE[$1]}/coordfsd.pid" 2>/dev/null; }

alive() { # PID is a process that is not a zombie
	[ -r "/proc/$1/stat" ] && ! grep -q '^[0-9]* (.*) Z' "/proc/$1/stat" 2>/dev/null
}

gone() { ! alive "$1"; }

member_runs() {
	local pid
	pid=$(member_pid "$1") && [ -n "$pid" ] && alive "$pid" &&
		tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -q coordfsd
}

running() { # the numbers of the members that run
	local i
	for ((i = 1; i <= N; i++)); do
		! member_runs "$i" || echo "$i"
	done
}

mounted() { # the kernel writes a space in a path as \040
	awk -v dir="${1// /\\\\040}" '$5 == dir { found = 1 } END { exit !found }' /proc/self/mountinfo
}
not_mounted() { ! mounted "$1"; }

# A clean stop: the daemon ends and its mount is gone.
member_stop() {
	local pid
	pid=$(member_pid "$1")
	kill -TERM "$pid"
	until_true 20 gone "$pid"
	[ -z "${MNT[$1]}" ] || not_mounted "${MNT[$1]}" || fail "member $1 stopped but is still mounted"
}

# kill -9. Unmounts the dead mount, as an administrator would.
member_kill() {
	local pid
	pid=$(member_pid "$1")
	kill -KILL "$pid"
	until_true 20 gone "$pid"
	member_unmount "$1"
}

# A power cut: unsynced data of these members are lost, at random. The members must have been
# started with DAEMON=$TOOLS/coordfsd_cut, after cuts_possible. For each member, the cut comes
# before the OPERATIONS-th disk operation from now.
members_cut() { # OPERATIONS NUMBER…
	local i operations=$1 pids=()
	shift
	for i in "$@"; do
		pids[i]=$(member_pid "$i")
		timeout $((20 * WAIT_FACTOR)) bash -c 'echo "$0 $1" >"$2"' "$operations" "$RANDOM" "${STATE[i]}.cut" ||
			fail "member $i has no power to cut"
	done
	for i in "$@"; do
		until_true 20 gone "${pids[i]}"
		member_unmount "$i"
		rm -r "${STATE[i]}"
		mv "${STATE[i]}.left" "${STATE[i]}"
		mkdir "${STATE[i]}.left"
	done
}

cuts_possible() { # once, after define_cluster
	local i
	for ((i = 1; i <= N; i++)); do
		mkfifo "${STATE[i]}.cut"
		mkdir "${STATE[i]}.left"
	done
}

member_unmount() {
	while [ -n "${MNT[$1]}" ] && mounted "${MNT[$1]}"; do
		umount -f -l "${MNT[$1]}"
	done
}

member_pause() { kill -STOP "$(member_pid "$1")"; }
member_resume() { kill -CONT "$(member_pid "$1")"; }

# Starts a background process of the test: its pid is in $CHILD. If it still runs at the end, it is
# killed.
background() {
	"$@" &
	CHILD=$!
	CHILDREN+=("$CHILD")
}

# ---- Status --------------------------------------------------------------------------------------

# st MEMBER FILTER: a value of `coordfs status --json`, or nothing if the member does not answer.
st() {
	timeout 10 "$BUILD/coordfs" status --json "${STATE[$1]}" 2>/dev/null | jq -r "$2" || true
}

# Prints the leader that has a quorum and on which all running members agree; fails if there is none
# yet.
leader_now() {
	local i leader='' seen
	for i in $(running); do
		seen=$(st "$i" '.leader')
		case $seen in '' | 0 | null) return 1 ;; esac
		[ -z "$leader" ] || [ "$leader" = "$seen" ] || return 1
		leader=$seen
	done
	[ -n "$leader" ] && [ "$(st "$leader" '.state == "leader" and .quorum')" = true ] || return 1
	echo "$leader"
}

wait_leader() { # prints the leader's number
	until_true 30 leader_now
}

a_follower() { # prints the number of some running member that does not lead
	local leader i
	leader=$(wait_leader)
	for i in $(running); do
		[ "$i" = "$leader" ] || { echo "$i"; return; }
	done
	return 1
}

# Succeeds if all running members have applied the same index; then they must have the same hash.
equal_now() {
	local i got first='' hash=''
	for i in $(running); do
		got=$(st "$i" '"\(.applied) \(.hash) \(.commit)"')
		# shellcheck disable=SC2086 # three words
		set -- $got
		[ $# = 3 ] && [ "$1" = "$3" ] || return 1
		[ -n "$first" ] || first=$1 hash=$2
		[ "$1" = "$first" ] || return 1
		[ "$2" = "$hash" ] || fail "members differ at index $1: $hash and $2 (member $i)"
	done
	[ -n "$first" ]
}

synced() { timeout $((20 * WAIT_FACTOR)) "$BUILD/coordfs" sync "$1" 2>/dev/null; }

# Members with equal hashes may still have mounts that differ: a host's kernel drops its caches
# after the change is applied. After this barrier every mount shows the state.
sync_mounts() {
	local i
	for i in $(running); do
		[ -z "${MNT[i]}" ] || not_mounted "${MNT[i]}" || until_true 60 synced "${MNT[i]}"
	done
}

# Waits until all running members have the same state and their mounts show it.
wait_equal() {
	until_true 60 equal_now
	sync_mounts
}

LINE_FILE='%P %y %m %U %G %s %n %l %T@'
LINE_DIR='%P %y %m %U %G %T@'

# Prints the results of stat, readlink and getfattr for a tree, one line per entry; MORE is added to
# find's format.
listing() { # DIRECTORY [MORE]
	(
		cd "$1"
		find . -type d -printf "$LINE_DIR ${2:-}\n" -o -printf "$LINE_FILE ${2:-}\n" | LC_ALL=C sort
		find . \( -type b -o -type c \) -exec stat -c '%n %t:%T' {} + | LC_ALL=C sort
		find . ! -type l -print0 | LC_ALL=C sort -z |
			xargs -0 -r getfattr -h -d -m - -- 2>/dev/null | grep -v '^user\.coordfs\.' || true
	)
}

# Compares names, content, types, modes, owners, times, link counts, xattrs. For mounts of one
# cluster MORE can be '%i %s %n %C@ %A@', which are replicated too.
same_trees() { # A B [MORE]
	# diff reports two fifos, sockets or devices as different; the listing compares them.
	diff -r --no-dereference "$1" "$2" 2>&1 |
		grep -vE ' is a (fifo|socket|block special file|character special file) while file .* is a \1$' >"$T/diff" || true
	[ ! -s "$T/diff" ] || fail "$1 and $2 differ: $(head -n 5 "$T/diff")"
	listing "$1" "${3:-}" >"$T/listing-a"
	listing "$2" "${3:-}" >"$T/listing-b"
	diff "$T/listing-a" "$T/listing-b" >"$T/diff" || fail "$1 and $2 differ: $(head -n 6 "$T/diff")"
}

same_mounts() {
	local i
	sync_mounts
	for i in $(running); do
		[ "$i" = 1 ] || same_trees "${MNT[1]}" "${MNT[$i]}" '%i %s %n %C@ %A@'
	done
}

# ---- A separate network --------------------------------------------------------------------------
# Each member has a network namespace; a bridge in another namespace joins them. The host's network
# sees nothing of them. The mounts stay in the host's mount namespace.

network_create() { # NUMBER OF MEMBERS; before define_cluster
	local i hub=cfs-$RUN-hub
	ip netns add "$hub"
	NETWORKS+=("$hub")
	ip -n "$hub" link add br0 type bridge
	ip -n "$hub" link set br0 up
	for ((i = 1; i <= $1; i++)); do
		NETNS[i]=cfs-$RUN-$i
		ip netns add "${NETNS[i]}"
		NETWORKS+=("${NETNS[i]}")
		ip -n "$hub" link add "p$i" type veth peer name eth0 netns "${NETNS[i]}"
		ip -n "$hub" link set "p$i" master br0 up
		ip -n "${NETNS[i]}" link set lo up
		ip -n "${NETNS[i]}" link set eth0 up
		ip -n "${NETNS[i]}" addr add "10.77.0.$i/24" dev eth0
		ADDR[i]=10.77.0.$i:7410
	done
}

# Runs a command in the network of member i.
in_network() {
	local i=$1
	shift
	if [ -n "${NETNS[i]:-}" ]; then
		nsenter --net="/run/netns/${NETNS[i]}" "$@"
	else
		"$@"
	fi
}

# network_cut A [B…]: drops member A's packets to and from members B (default: all members).
network_cut() {
	local a=$1 b
	shift
	[ $# -gt 0 ] || set -- $(seq 1 "$N")
	{
		echo 'table inet cut {'
		echo '  chain in { type filter hook input priority 0;'
		for b in "$@"; do
			[ "$b" = "$a" ] || echo "    ip saddr 10.77.0.$b drop"
		done
		echo '  }'
		echo '  chain out { type filter hook output priority 0;'
		for b in "$@"; do
			[ "$b" = "$a" ] || echo "    ip daddr 10.77.0.$b drop"
		done
		echo '  }'
		echo '}'
	} | in_network "$a" nft -f -
}

network_heal() { # A
	in_network "$1" nft delete table inet cut
}

# ---- The end -------------------------------------------------------------------------------------

check_database() { # MEMBER
	[ ! -e "${STATE[$1]}/coordfs.db" ] || {
		exits 0 "$BUILD/coordfs" check "${STATE[$1]}"
		equal "$OUT" ok "coordfs check of member $1"
	}
}

# The assertions at the end of every test.
end_checks() {
	local i
	for i in $(running); do
		member_stop "$i"
	done
	for ((i = 1; i <= N; i++)); do
		check_database "$i"
	done
	no_reports
}

no_reports() {
	! compgen -G "$T/sanitizer*" >/dev/null || fail "a sanitizer has reported: $(head -n 40 "$T"/sanitizer*)"
	! grep -Eh 'check failed|runtime error|Sanitizer' "$T"/log-* 2>/dev/null || fail "the log above names an error"
}

show_logs() {
	local i
	for ((i = 1; i <= N; i++)); do
		[ -s "$T/log-$i" ] || continue
		[ -z "${TEST_LOGS:-}" ] || cp "$T/log-$i" "$TEST_LOGS/$NAME.member-$i.log"
		echo "----- the end of member $i's log"
		tail -n 15 "$T/log-$i"
	done
}

remove_all() {
	local i pid dir end
	for end in "${AT_END[@]}"; do
		"$end"
	done
	for pid in "${CHILDREN[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
	done
	for i in $(running); do
		pid=$(member_pid "$i")
		kill -CONT "$pid" 2>/dev/null || true
		kill -KILL "$pid" 2>/dev/null || true
	done
	awk -v root="$T/" 'index($5, root) == 1 { print $5 }' /proc/self/mountinfo | tac |
		while read -r dir; do
			dir=${dir//\\040/ }
			umount -f -l "$dir" 2>/dev/null || umount -l "$dir" || true
		done
	for dir in "${NETWORKS[@]}"; do
		ip netns del "$dir" || true
	done
	awk -v root="$T/" 'index($5, root) == 1 { exit 1 }' /proc/self/mountinfo && rm -rf --one-file-system "$T"
}

on_exit() {
	local rc=$?
	trap - ERR EXIT
	set +e
	cd /
	if [ $rc = 0 ]; then
		(set -e; end_checks)
		rc=$?
	fi
	[ $rc = 0 ] || [ $rc = 77 ] || show_logs
	remove_all
	exit $rc
}

trap 'rc=$?; echo "FAIL: ${BASH_SOURCE[0]##*/}:$LINENO: exit code $rc: $BASH_COMMAND" >&2; exit $rc' ERR
trap on_exit EXIT
trap 'exit 143' TERM INT
