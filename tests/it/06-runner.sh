#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 150
# The test runner: each verdict, with tests made for this purpose, and the removal of leftovers.
. "$(dirname "$0")/lib.sh"

need_fuse # and root, for the things that a test leaves behind
need_tool ip
P=$T/project
BEGIN=$P/begin # the tests that began, one per line
mkdir -p "$P/tests/it" "$P/tests/unit" "$P/build/tests"
cp "$SRC/tests/run.sh" "$P/tests/"
export P BEGIN
unset CI JOBS
export TEST_SETTLE=2 TEST_LIMIT_FACTOR=1

unit() { # NAME SCRIPT [COMMENT OF THE SOURCE]: an executable, as if from C
	printf '#!/bin/bash\necho %s >>"$BEGIN"\n%s\n' "$1" "$2" >"$P/build/tests/test_$1"
	chmod 755 "$P/build/tests/test_$1"
	printf '/* What it is.\n * %s */\n' "${3:-}" >"$P/tests/unit/test_$1.c"
}

it() { # NAME SCRIPT [COMMENT]
	printf '#!/bin/bash\n# %s\necho %s >>"$BEGIN"\n%s\n' "${3:-}" "$1" "$2" >"$P/tests/it/$1.sh"
	chmod 755 "$P/tests/it/$1.sh"
}

no_tests() {
	rm -f "$P"/build/tests/test_* "$P"/tests/unit/* "$P"/tests/it/* "$BEGIN"
	touch "$BEGIN"
}

# runs CODE ARGUMENT…: its output is in $OUT. Nothing of it may be left on this machine.
runs() {
	local code=$1
	shift
	: >"$BEGIN"
	exits "$code" env TMPDIR="$T/tmp" "$P/tests/run.sh" "$P/build" "$@"
	nothing_left
}

nothing_left() {
	equal "$(find "$T/tmp" -mindepth 1)" "" "the directories of the tests"
	! grep -q " $T/tmp/" /proc/self/mountinfo || fail "a mount is left"
}

line() { # TEXT: it must be a line of $OUT
	grep -Fqx -- "$1" <<<"$OUT" || fail "no line '$1' in: $OUT"
}

last() { [ "$(tail -n 1 <<<"$OUT")" = "$1" ] || fail "the last line is not '$1': $OUT"; }

mkdir "$T/tmp"

say "verdicts"
no_tests
unit good 'echo "RESULT: 42 of them"; echo "RESULT: no more"; pwd >"$P/where"'
unit bad 'echo because; exit 3'
unit hangs 'sleep 1000' 'limit: 1'
unit killed 'kill -KILL $$'
unit skips 'echo "SKIP: no moon"; exit 77'
it 10-good 'test -d "$SRC/tests" && test -d "$BUILD/tests" && test -d "$TMPDIR" && test -d "$TEST_LOGS"'
it 11-machine 'echo "SKIP-MACHINE: no loop"; exit 77' 'limit: 200'
it not-a-test 'exit 1'
runs 1
matches "$OUT" '^ok    test_good \([0-9.]+ s\) 42 of them; no more$' "test_good"
matches "$OUT" '^FAIL  test_bad \(exit code 3, [0-9.]+ s\)$' "test_bad"
line because
matches "$OUT" '^FAIL  test_hangs \(it did not end within 1 s, [0-9.]+ s\)$' "test_hangs"
matches "$OUT" '^FAIL  test_killed ' "test_killed"
line 'SKIP  test_skips: no moon'
matches "$OUT" '^ok    10-good ' "10-good"
line 'skipped: 11-machine: no loop'
line 'failed: test_hangs'
last '2 passed, 3 failed, 2 skipped'
equal "$(cat "$P/build/test-logs/test_bad.log")" because "the log"
runs 0 test_good it
last '2 passed, 0 failed, 1 skipped'
runs 1 test_good 99-nothing
line 'FAIL  99-nothing (no such test)'
last '1 passed, 1 failed'
runs 1 test_skips
line 'no test ran'
last '0 passed, 0 failed, 1 skipped'
exits 2 "$P/tests/run.sh" "$T/none"
JOBS=many exits 2 "$P/tests/run.sh" "$P/build"

say "CI forbids skipping, except for things that the machine lacks"
export CI=true
runs 1 test_skips 11-machine test_good
matches "$OUT" '^FAIL  test_skips \(skipped, and CI=true forbids that: no moon, ' "test_skips"
last '1 passed, 1 failed, 1 skipped'
unset CI

say "the caller's environment does not reach the tests, except for the tests' own settings"
no_tests
it 10-env '[ -z "${DEMO_PORT-}${MAKEFLAGS-}${CDPATH-}${CFLAGS-}" ] && [ "$LC_ALL" = C ] && [ "$KILLS" = 3 ]'
DEMO_PORT=1 MAKEFLAGS=-k CDPATH=/ CFLAGS=-O0 LC_ALL=C.UTF-8 KILLS=3 runs 0

say "the programs under test stay as they are"
no_tests
printf '#!/bin/sh\n' >"$P/build/program"
chmod 755 "$P/build/program"
it 10-reads 'cat "$BUILD/program" >/dev/null; touch "$BUILD/notes"'
runs 0
it 11-builds 'cp "$BUILD/program" "$BUILD/new" && mv "$BUILD/new" "$BUILD/program"'
runs 1
line "made again: $P/build/program"
line 'failed: a test has changed the programs under test'
last '2 passed, 1 failed'
rm "$P/build/program" "$P/build/notes"

say "leftovers are removed, and the test that left them fails"
no_tests
unit innocent 'sleep 2'
unit process 'sleep 1000 & disown'
unit nameless 'touch "$TMPDIR/f"; env -i tail -f "$TMPDIR/f" & disown'
unit file 'touch "$TMPDIR/a file"'
unit mount 'mkdir "$TMPDIR/a dir"; mount -t tmpfs none "$TMPDIR/a dir"'
unit net 'ip netns add "cfs-$COORDFS_TEST_RUN-x"'
export JOBS=6
runs 1
matches "$OUT" '^ok    test_innocent ' "test_innocent"
for name in process nameless file mount net; do
	matches "$OUT" "^FAIL  test_$name \(it left something behind" "test_$name"
done
logged() { matches "$(cat "$P/build/test-logs/test_$1.log")" "$2" "the log of test_$1"; }
logged process '^left behind: process [0-9]+: sleep 1000'
logged nameless '^left behind: process [0-9]+: tail -f'
logged file '^left behind: .*/a file$'
logged mount '^left behind: mount .*/a\\040dir$'
logged net '^left behind: network namespace cfs-'
last '1 passed, 5 failed'
! grep -q . <(ip netns list | grep "$(sed -n 's/.*namespace //p' "$P/build/test-logs/test_net.log")") ||
	fail "the namespace is still there"

say "tests run at the same time, and the output of each stays together"
no_tests
# Each waits for the others; then all print at the same time.
for name in a b c; do
	unit $name "touch \$P/at.$name; for i in {1..600}; do [ -e \$P/at.a ] && [ -e \$P/at.b ] && [ -e \$P/at.c ] && break
		sleep 0.1; done; [ \$i -lt 600 ] || exit 5; for i in {1..40}; do echo says $name; done; exit 9"
done
JOBS=3 runs 1
for name in a b c; do
	matches "$OUT" "^FAIL  test_$name \(exit code 9" "test_$name"
done
equal "$(grep '^says' <<<"$OUT" | uniq -c | awk '{ print $1 }' | paste -sd ' ')" '40 40 40' "lines together"
last '0 passed, 3 failed'

say "one after another; the highest limit first; tests that must run alone last"
no_tests
beside='[ -z "$(ls -d $P/busy.* 2>/dev/null)" ] || exit 8; touch $P/busy.$$; sleep 0.3; rm $P/busy.$$'
unit short "$beside" 'limit: 20'
it 20-long "$beside" 'limit: 200'
unit middle "$beside" 'limit: 30 or so'
it 21-lonely "$beside" 'alone: it measures'
unit lonely "$beside" 'alone: it fills the machine'
JOBS=1 runs 0
equal "$(paste -sd ' ' "$BEGIN")" '20-long middle short lonely 21-lonely' "the order"
last '5 passed, 0 failed'
busy='touch $P/busy.$$; sleep 1; rm $P/busy.$$'
for name in a b c; do
	unit $name "$busy"
done
JOBS=4 runs 0 test_a test_b test_c test_lonely 21-lonely
last '5 passed, 0 failed'

say "a runner that dies is noticed"
no_tests
unit good ''
unit murder 'exec 2>/dev/null; kill -KILL "$(awk "{ print \$4 }" /proc/$PPID/stat)"; sleep 1000'
runs 1
line 'failed: test_murder (its runner has ended without a verdict)'
matches "$OUT" '^left behind: process ' "the leftovers of the dead runner's test"
matches "$(tail -n 1 <<<"$OUT")" '^1 passed, [23] failed$' "the last line"

say "interrupted: everything is removed"
no_tests
unit hangs 'trap "" TERM INT; touch $P/at.hangs; sleep 1000; sleep 1000'
it 10-hangs 'mkdir $TMPDIR/m; mount -t tmpfs none $TMPDIR/m; ip netns add cfs-$COORDFS_TEST_RUN-y; touch $P/at.10
	sleep 1000 & disown; sleep 1000'
for signal in TERM INT; do
	rm -f "$P"/at.*
	# Not with `background`: a shell's background process ignores SIGINT permanently.
	TMPDIR=$T/tmp JOBS=2 python3 -c '
import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
p = subprocess.Popen(sys.argv[3:], stdout=open(sys.argv[1], "w"), stderr=subprocess.STDOUT)
open(sys.argv[2], "w").write("%d\n" % p.pid)
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.exit(p.wait())' "$T/said-$signal" "$T/pid" "$P/tests/run.sh" "$P/build" &
	CHILDREN+=($!)
	until_true 60 test -e "$P/at.hangs"
	until_true 60 test -e "$P/at.10"
	kill -"$signal" "$(cat "$T/pid")"
	rc=0
	wait $! || rc=$?
	OUT=$(cat "$T/said-$signal")
	equal $rc 1 "the exit code after SIG$signal, and it said: $OUT"
	line interrupted
	line 'failed: test_hangs (interrupted)'
	last '0 passed, 2 failed'
	nothing_left
	! ip netns list | grep -- '-y' | grep -q "cfs-$(cat "$T/pid")-" || fail "a namespace is left"
	! grep -lz "^COORDFS_TEST_RUN=$(cat "$T/pid")-" /proc/[0-9]*/environ 2>/dev/null || fail "a process is left"
done
