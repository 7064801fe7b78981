#!/bin/bash
# Runs tests one after another, shows what failed, and says how many passed.
#
# Usage: tests/run.sh BUILD [unit|it|NAME]...      (nothing named: unit it)
#   unit   the programs BUILD/tests/test_*
#   it     the scripts tests/it/NN-*.sh: real daemons, real mounts
#   NAME   only these, e.g. test_buf or 40-kill-writers
#
# A test passes with exit code 0 and fails with any other; 77 means that it could not run here, and
# its output then has a line "SKIP: reason". With CI=true that is a failure too, unless the machine
# itself lacks something that no package brings ("SKIP-MACHINE: reason"). Output stays in
# BUILD/test-logs. A script asks for more time than the default with a line "# limit: SECONDS".
#
# Whatever a test leaves behind (processes, mounts, network namespaces, loop devices, files in its
# TMPDIR) is removed and counts as a failure of that test.
#
# The last line is "N passed, N failed" (", N skipped" is added when there are any). Exit code 0 only
# when something passed and nothing failed.
set -u

UNIT_LIMIT=120
IT_LIMIT=90
TAIL=60 # lines shown of a failed test's output

usage() {
	sed -n '2,/^set -u/s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

if [ $# = 0 ] || [ ! -d "$1" ]; then
	usage
fi
cd "$(dirname "$0")/.." || exit 2
SRC=$PWD
BUILD=$(cd "$OLDPWD" && cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- unit it

RUN=$$-$RANDOM
ROOT=$(mktemp -d "${TMPDIR:-/tmp}/coordfs-test.XXXXXX") || exit 2
chmod 711 "$ROOT" # other users reach the mounts
LOGS=$BUILD/test-logs
rm -rf "$LOGS"
mkdir -p "$LOGS" || exit 2

# Sanitizers and coverage make everything slower.
factor=${TEST_LIMIT_FACTOR:-1}
case ${BUILD##*/} in
build | build-lint) ;;
*) factor=${TEST_LIMIT_FACTOR:-4} ;;
esac

passed=0 failed=0 skipped=0
failures=() skips=()

# ---- What a test may leave behind ------------------------------------------------------------------

# Processes that carry this run's mark in their environment, or name its directory on their command
# line: mount(8) clears the environment.
left_processes() {
	local dir args env
	for dir in /proc/[0-9]*; do
		[ "${dir#/proc/}" != $$ ] || continue
		args=() env=()
		mapfile -d '' env 2>/dev/null <"$dir/environ" || continue
		mapfile -d '' args 2>/dev/null <"$dir/cmdline" || continue
		case " ${env[*]-} " in
		*" COORDFS_TEST_RUN=$RUN "*) echo "${dir#/proc/}" ;;
		*) case "${args[*]-}" in *"$ROOT"/*) echo "${dir#/proc/}" ;; esac ;;
		esac
	done
}

left_mounts() { # as the kernel writes them: a space is \040
	awk -v root="$ROOT/" 'index($5, root) == 1 { print $5 }' /proc/self/mountinfo | tac
}

left_namespaces() {
	[ -d /run/netns ] || return 0
	find /run/netns -name "cfs-$RUN-*" -printf '%f\n'
}

left_loops() {
	losetup -l -n -O NAME,BACK-FILE 2>/dev/null | awk -v root="$ROOT/" 'index($2, root) == 1 { print $1 }'
}

left_files() {
	find "$ROOT" -xdev -mindepth 1 -maxdepth 1
}

# Waits a little for processes that are on their way out.
settle() {
	local tries
	for tries in 1 2 3 4 5 6 7 8 9 10; do
		[ -n "$(left_processes)" ] || return 0
		sleep 0.2
	done
	: "$tries"
}

# Removes what is there and says what it was.
remove_leftovers() {
	local what
	settle
	for what in $(left_processes); do
		echo "left behind: process $what: $(tr '\0' ' ' <"/proc/$what/cmdline" 2>/dev/null)"
		kill -9 "$what" 2>/dev/null
	done
	left_mounts | while read -r what; do
		echo "left behind: mount $what"
		umount -f -l "${what//\\040/ }" 2>/dev/null || umount -l "${what//\\040/ }"
	done
	for what in $(left_namespaces); do
		echo "left behind: network namespace $what"
		ip netns del "$what"
	done
	for what in $(left_loops); do
		echo "left behind: loop device $what"
		losetup -d "$what"
	done
	left_files | while IFS= read -r what; do
		echo "left behind: $what"
		[ -n "$(left_mounts)" ] || rm -rf "$what"
	done
}

# ---- One test --------------------------------------------------------------------------------------

now_ms() { echo $(($(date +%s%N) / 1000000)); }

limit_of() { # KIND FILE: the seconds it may take
	local limit=$UNIT_LIMIT
	if [ "$1" = it ]; then
		limit=$(sed -n 's/^# limit: \([0-9][0-9]*\).*/\1/p' "$2" | head -n 1)
		limit=${limit:-$IT_LIMIT}
	fi
	echo $((limit * factor))
}

report_failure() { # NAME WHY SECONDS LOG
	printf 'FAIL  %s (%s, %s)\n' "$1" "$2" "$3"
	echo "----- the end of $4"
	tail -n $TAIL "$4"
	echo "-----"
	failed=$((failed + 1))
	failures+=("$1")
}

report_skip() { # NAME SECONDS LOG
	local reason
	reason=$(grep -E '^SKIP(-MACHINE)?: ' "$3" | tail -n 1)
	if [ "${CI:-}" = true ] && [ "${reason#SKIP-MACHINE: }" = "$reason" ]; then
		report_failure "$1" "skipped, and CI=true forbids that: ${reason#*: }" "$2" "$3"
		return
	fi
	reason=${reason#*: }
	printf 'SKIP  %s: %s\n' "$1" "${reason:-(no reason given)}"
	skipped=$((skipped + 1))
	skips+=("$1: ${reason:-(no reason given)}")
}

# The exit code of our child PID. A process that waits for an answer of a filesystem cannot even be
# killed: when SECONDS are over, the connections of the mounts left are aborted, which wakes it.
await() { # PID SECONDS
	local mount
	if ! timeout "$2" tail --pid="$1" -s 0.1 -f /dev/null; then
		left_mounts | while read -r mount; do
			umount -f -l "${mount//\\040/ }"
		done
	fi
	wait "$1"
}

run_test() { # KIND FILE
	local kind=$1 file=$2 name log limit begin rc left took figures
	name=$(basename "$file" .sh)
	log=$LOGS/$name.log
	limit=$(limit_of "$kind" "$file")
	begin=$(now_ms)
	env COORDFS_TEST_RUN="$RUN" BUILD="$BUILD" SRC="$SRC" TMPDIR="$ROOT" TEST_LOGS="$LOGS" \
		timeout -k 20 "$limit" "$file" >"$log" 2>&1 </dev/null &
	await $! $((limit + 30))
	rc=$?
	left=$(remove_leftovers 2>&1)
	took=$(($(now_ms) - begin))
	took="$((took / 1000)).$(((took % 1000) / 100)) s"
	[ -z "$left" ] || printf '%s\n' "$left" >>"$log"
	if [ $rc = 124 ] || [ $rc = 137 ]; then
		report_failure "$name" "no end within $limit s" "$took" "$log"
	elif [ $rc != 0 ] && [ $rc != 77 ]; then
		report_failure "$name" "exit code $rc" "$took" "$log"
	elif [ -n "$left" ]; then
		report_failure "$name" "left something behind" "$took" "$log"
	elif [ $rc = 77 ]; then
		report_skip "$name" "$took" "$log"
	else
		figures=$(sed -n 's/^RESULT: //p' "$log" | paste -s -d ';' | sed 's/;/; /g')
		printf 'ok    %s (%s)%s\n' "$name" "$took" "${figures:+ $figures}"
		passed=$((passed + 1))
	fi
}

files_of() { # KIND: its tests, sorted
	case $1 in
	unit) find "$BUILD/tests" -maxdepth 1 -name 'test_*' -type f -executable ! -name '*.*' 2>/dev/null ;;
	it) find "$SRC/tests/it" -maxdepth 1 -name '[0-9][0-9]-*.sh' ;;
	esac | sort
}

run_kind() {
	local file
	for file in $(files_of "$1"); do
		run_test "$1" "$file"
	done
}

run_named() {
	local kind file
	for kind in unit it; do
		for file in $(files_of $kind); do
			if [ "$(basename "$file" .sh)" = "$1" ]; then
				run_test $kind "$file"
				return
			fi
		done
	done
	echo "FAIL  $1 (no such test)"
	failed=$((failed + 1))
	failures+=("$1")
}

finish() {
	local left
	left=$(remove_leftovers)
	if [ -n "$left" ]; then
		printf '%s\n' "$left"
		failed=$((failed + 1))
		failures+=("something was left behind")
	fi
	rmdir "$ROOT" || failed=$((failed + 1))
	[ ${#skips[@]} = 0 ] || printf 'skipped: %s\n' "${skips[@]}"
	[ ${#failures[@]} = 0 ] || printf 'failed: %s\n' "${failures[@]}"
	if [ $((passed + failed)) = 0 ]; then
		echo "no test ran"
	fi
	echo "$passed passed, $failed failed$([ $skipped = 0 ] || echo ", $skipped skipped")"
	[ $failed = 0 ] && [ $passed -gt 0 ]
	exit $?
}

trap 'echo interrupted; failed=$((failed + 1)); finish' INT TERM
ulimit -c 0

for wanted in "$@"; do
	case $wanted in
	unit | it) run_kind "$wanted" ;;
	*) run_named "$wanted" ;;
	esac
done
finish
