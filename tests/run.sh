#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs tests, several at the same time, shows those that failed, and counts those that passed.
#
# Usage: [JOBS=N] tests/run.sh BUILD [unit|it|NAME]...      (default: unit it)
#   unit   the programs BUILD/tests/test_*
#   it     the scripts tests/it/NN-*.sh: real daemons, real mounts
#   NAME   only these tests, for example test_buf or 40-kill-writers
#
# JOBS tests run at the same time; default: the number of processors, at least 2. JOBS=1: one after
# another. The tests with the highest limits begin.
#
# A test passes with exit status 0 and fails with any other. 77 means that it could not run here;
# its output then has a line "SKIP: reason". With CI=true that is a failure too, unless the machine
# itself lacks something that no package provides ("SKIP-MACHINE: reason"). The output is in
# BUILD/test-logs. A test declares its needs in comments at the beginning of a line of its source:
#   limit: SECONDS   more time than the default
#   alone: REASON    no other test at the same time; such tests come last
#
# If a test leaves anything behind (processes, mounts, network namespaces, loop devices, files in
# its TMPDIR), the runner removes it, and the test fails. Therefore each test has its own mark in
# its environment (COORDFS_TEST_RUN), which is also part of the names of its network namespaces, and
# its own TMPDIR.
#
# The programs in BUILD must not change: a test that builds them again takes them away from the
# other tests. Such a run fails, even if all tests pass.
#
# The last line is "N passed, N failed" (with ", N skipped" if there are any). The exit status is 0
# only if at least one test passed and none failed.
set -u

UNIT_LIMIT=120
IT_LIMIT=90
TAIL=60 # lines of a failed test's output that are shown
SETTLE=${TEST_SETTLE:-10} # seconds for processes that are ending

usage() {
	sed -n '3,/^set -u/s/^# \{0,1\}//p' "$0" >&2
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

if [ -z "${JOBS:-}" ]; then
	JOBS=$(nproc)
	[ "$JOBS" -ge 2 ] || JOBS=2
fi
case $JOBS in
*[!0-9]* | 0*) usage ;;
esac

RUN=$$-$RANDOM
MARK=$RUN # of the present test, in the process that runs it: more digits follow
TOP=$(mktemp -d "${TMPDIR:-/tmp}/coordfs-test.XXXXXX") || exit 2
ROOT=$TOP # of the present test, in the process that runs it: a directory in it
chmod 711 "$TOP" # other users reach the mounts
LOGS=$BUILD/test-logs
rm -rf "$LOGS"
mkdir -p "$LOGS" "$TOP/results" || exit 2

# A limit ends a test that hangs. A test may be slow on a busy machine; sanitizers and coverage make
# it even slower.
case ${BUILD##*/} in
build | build-lint) factor=${TEST_LIMIT_FACTOR:-4} ;;
*) factor=${TEST_LIMIT_FACTOR:-8} ;;
esac

# Removed from the environment of a test: settings that the programs under test read, and those of
# the make that runs this script. LC_ALL makes other programs print English messages.
NOT_FOR_TESTS=(-u DEMO_PORT -u DEMO_ADDRESS -u CDPATH -u GREP_OPTIONS -u LANGUAGE -u POSIXLY_CORRECT
	-u MAKEFLAGS -u MFLAGS -u MAKEOVERRIDES -u MAKELEVEL -u CFLAGS -u LDFLAGS)

BEGUN=$SECONDS
passed=0 failed=0 skipped=0
failures=() skips=()

# ---- Leftovers of a test -------------------------------------------------------------------------

# These functions find things that carry $MARK or are below $ROOT: those of one test in the process
# that runs it, those of all tests in the first process.

# Processes that have the mark in their environment, or the directory on their command line, because
# mount(8) clears the environment.
left_processes() {
	local dir args env
	for dir in /proc/[0-9]*; do
		[ "${dir#/proc/}" != $$ ] || continue
		args=() env=()
		mapfile -d '' env 2>/dev/null <"$dir/environ" || continue
		mapfile -d '' args 2>/dev/null <"$dir/cmdline" || continue
		case " ${env[*]-} " in
		*" COORDFS_TEST_RUN=$MARK"*) echo "${dir#/proc/}" ;;
		*) case "${args[*]-}" in *"$ROOT"/*) echo "${dir#/proc/}" ;; esac ;;
		esac
	done
}

left_mounts() { # as the kernel writes them: a space is \040
	awk -v root="$ROOT/" 'index($5, root) == 1 { print $5 }' /proc/self/mountinfo | tac
}

left_namespaces() {
	[ -d /run/netns ] || return 0
	find /run/netns -name "cfs-$MARK-*" -printf '%f\n'
}

left_loops() {
	losetup -l -n -O NAME,BACK-FILE 2>/dev/null | awk -v root="$ROOT/" 'index($2, root) == 1 { print $1 }'
}

# The programs in BUILD, with an inode and a time that change when a program is built again.
programs() {
	find "$BUILD" -maxdepth 2 -type f -executable ! -path "$LOGS/*" -printf '%p %i %T@\n' | LC_ALL=C sort
}

left_files() {
	[ ! -d "$ROOT" ] || find "$ROOT" -xdev -mindepth 1 -maxdepth 1
}

# Waits for processes that are ending, which takes a while on a busy machine.
settle() {
	local end=$((SECONDS + SETTLE))
	while [ -n "$(left_processes)" ] && [ $SECONDS -lt $end ]; do
		sleep 0.2
	done
}

# Removes all leftovers and prints their names.
remove_leftovers() {
	local what
	settle
	for what in $(left_processes); do
		echo "left behind: process $what: $(tr '\0' ' ' 2>/dev/null <"/proc/$what/cmdline")"
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

# ---- One test ------------------------------------------------------------------------------------
# Runs in a separate process. Its output goes to results/N.said, the verdict to results/N.verdict:
# "passed", or "failed" or "skipped" and a reason. At the end it creates results/N.ended.

now_ms() { echo $(($(date +%s%N) / 1000000)); }

source_of() { # KIND FILE
	case $1 in
	unit) echo "$SRC/tests/unit/${2##*/}.c" ;;
	it) echo "$2" ;;
	esac
}

comment_of() { # WORD KIND FILE: the text behind "WORD: " in its source, or nothing
	sed -n "1,30s,^[#/* ]* $1: *,,p" "$(source_of "$2" "$3")" 2>/dev/null | head -n 1
}

limit_of() { # KIND FILE: the test's limit in seconds
	local limit
	limit=$(comment_of limit "$1" "$2")
	limit=${limit%%[!0-9]*}
	case $1 in
	unit) limit=${limit:-$UNIT_LIMIT} ;;
	it) limit=${limit:-$IT_LIMIT} ;;
	esac
	echo $((limit * factor))
}

verdict() { echo "$*" >"$TOP/results/$number.verdict"; }

report_failure() { # NAME WHY SECONDS LOG
	printf 'FAIL  %s (%s, %s)\n' "$1" "$2" "$3"
	echo "----- the end of $4"
	tail -n $TAIL "$4"
	echo "-----"
	verdict "failed $1"
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
	verdict "skipped $1: ${reason:-(no reason given)}"
}

# The exit status of the child PID. A process that waits for an answer of a filesystem cannot even
# be killed. So after SECONDS the connections of the remaining mounts are aborted, which wakes it.
await() { # PID SECONDS
	local mount
	if ! COORDFS_TEST_RUN="$MARK" timeout "$2" tail --pid="$1" -s 0.1 -f /dev/null; then
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
	env "${NOT_FOR_TESTS[@]}" LC_ALL=C COORDFS_TEST_RUN="$MARK" BUILD="$BUILD" SRC="$SRC" TMPDIR="$ROOT" TEST_LOGS="$LOGS" \
		timeout -k 20 "$limit" "$file" >"$log" 2>&1 &
	await $! $((limit + 30))
	rc=$?
	left=$(remove_leftovers 2>&1)
	took=$(($(now_ms) - begin))
	took="$((took / 1000)).$(((took % 1000) / 100)) s"
	[ -z "$left" ] || printf '%s\n' "$left" >>"$log"
	if [ $rc = 124 ] || [ $rc = 137 ]; then
		report_failure "$name" "it did not end within $limit s" "$took" "$log"
	elif [ $rc != 0 ] && [ $rc != 77 ]; then
		report_failure "$name" "exit code $rc" "$took" "$log"
	elif [ -n "$left" ]; then
		report_failure "$name" "it left something behind" "$took" "$log"
	elif [ $rc = 77 ]; then
		report_skip "$name" "$took" "$log"
	else
		figures=$(sed -n 's/^RESULT: //p' "$log" | paste -s -d ';' | sed 's/;/; /g')
		printf 'ok    %s (%s)%s\n' "$name" "$took" "${figures:+ $figures}"
		verdict passed
	fi
}

run_alone() { # NUMBER KIND FILE
	local number=$1
	MARK=$RUN-$number
	ROOT=$TOP/$number
	mkdir -m 711 "$ROOT"
	run_test "$2" "$3"
	rmdir "$ROOT"
	touch "$TOP/results/$number.ended"
}

# ---- Many tests ----------------------------------------------------------------------------------

declare -A FILE_OF=() KIND_OF=() PID_OF=() # by number; PID_OF: only tests that run

start() { # NUMBER
	run_alone "$1" "${KIND_OF[$1]}" "${FILE_OF[$1]}" >"$TOP/results/$1.said" 2>&1 </dev/null &
	PID_OF[$1]=$!
}

# Shows the output of test NUMBER, and counts the test.
collect() {
	local name said
	name=$(basename "${FILE_OF[$1]}" .sh)
	wait "${PID_OF[$1]}"
	unset "PID_OF[$1]"
	cat "$TOP/results/$1.said"
	said=$(cat "$TOP/results/$1.verdict" 2>/dev/null) || said="failed $name (its runner has ended without a verdict)"
	case $said in
	passed) passed=$((passed + 1)) ;;
	skipped*)
		skipped=$((skipped + 1))
		skips+=("${said#skipped }")
		;;
	*) count_failure "${said#failed }" ;;
	esac
}

count_failure() { # WHICH
	failed=$((failed + 1))
	failures+=("$1")
}

# Waits until a test has ended, also without a verdict. This is not `wait -n`, which may forget a
# process that has ended before; and not `read -t` from a pipe, which may continue at a wrong place
# after a trap.
collect_one() {
	local number
	while :; do
		for number in "${!PID_OF[@]}"; do
			if [ -e "$TOP/results/$number.ended" ] || [ ! -e "/proc/${PID_OF[$number]}" ]; then
				collect "$number"
				return
			fi
		done
		sleep 0.1
		[ -z "$INTERRUPTED" ] || interrupted
	done
}

run_at_once() { # JOBS NUMBER…
	local jobs=$1 number
	shift
	for number in "$@"; do
		[ ${#PID_OF[@]} -lt "$jobs" ] || collect_one
		start "$number"
	done
	while [ ${#PID_OF[@]} -gt 0 ]; do
		collect_one
	done
}

files_of() { # KIND: its tests
	case $1 in
	unit) find "$BUILD/tests" -maxdepth 1 -name 'test_*' -type f -executable ! -name '*.*' 2>/dev/null ;;
	it) find "$SRC/tests/it" -maxdepth 1 -name '[0-9][0-9]-*.sh' ;;
	esac
}

# The tests that the names select, one line "KIND FILE" each.
wanted() { # unit|it|NAME…
	local name kind file base found
	for name in "$@"; do
		found=
		for kind in unit it; do
			while read -r file; do
				base=${file##*/}
				[ "$name" = $kind ] || [ "${base%.sh}" = "$name" ] || continue
				found=1
				echo "$kind $file"
			done < <(files_of $kind)
		done
		[ -n "$found" ] || [ "$name" = unit ] || [ "$name" = it ] || echo "missing $name"
	done
}

# Each test once, those with the highest limit first.
in_order() {
	local kind file
	sort -u | while read -r kind file; do
		case $kind in
		missing) echo "0 $kind $file" ;;
		*) echo "$(limit_of "$kind" "$file") $kind $file" ;;
		esac
	done | LC_ALL=C sort -k 1,1nr -k 2
}

run_all() { # unit|it|NAME…
	local kind file number
	local together=() alone=()
	while read -r _ kind file; do
		if [ "$kind" = missing ]; then
			echo "FAIL  $file (no such test)"
			count_failure "$file"
			continue
		fi
		printf -v number '%03d' ${#FILE_OF[@]}
		KIND_OF[$number]=$kind
		FILE_OF[$number]=$file
		if [ -n "$(comment_of alone "$kind" "$file")" ]; then
			alone+=("$number")
		else
			together+=("$number")
		fi
	done < <(wanted "$@" | in_order)
	run_at_once "$JOBS" "${together[@]}"
	run_at_once 1 "${alone[@]}"
}

finish() {
	local left
	rm -rf "$TOP/results"
	left=$(remove_leftovers)
	if [ -n "$left" ]; then
		printf '%s\n' "$left"
		count_failure "something was left behind"
	fi
	left=$(diff <(echo "$PROGRAMS") <(programs) | sed -n 's/^[<>] \(.*\) [^ ]* [^ ]*$/made again: \1/p' | uniq)
	if [ -n "$left" ]; then
		printf '%s\n' "$left"
		count_failure "a test has changed the programs under test"
	fi
	rmdir "$TOP" || failed=$((failed + 1))
	[ ${#skips[@]} = 0 ] || printf 'skipped: %s\n' "${skips[@]}"
	[ ${#failures[@]} = 0 ] || printf 'failed: %s\n' "${failures[@]}"
	if [ $((passed + failed)) = 0 ]; then
		echo "no test ran"
	fi
	echo "$((SECONDS - BEGUN)) s, at most $JOBS at once"
	echo "$passed passed, $failed failed$([ $skipped = 0 ] || echo ", $skipped skipped")"
	[ $failed = 0 ] && [ $passed -gt 0 ]
	exit $?
}

# Ends the running tests and removes their leftovers, which therefore do not count as failures.
interrupted() {
	local number
	echo interrupted
	for number in "${!PID_OF[@]}"; do
		kill -KILL "${PID_OF[$number]}"
		wait "${PID_OF[$number]}" 2>/dev/null
		count_failure "$(basename "${FILE_OF[$number]}" .sh) (interrupted)"
	done
	left_processes | xargs -r kill -KILL 2>/dev/null
	remove_leftovers >/dev/null 2>&1
	finish
}

INTERRUPTED=
trap 'INTERRUPTED=1' INT TERM HUP
ulimit -c 0
# One compound command: bash reads all of this file before it runs, so the file may change.
{
	PROGRAMS=$(programs)
	run_all "$@"
	finish
}
