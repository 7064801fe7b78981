#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 180
# Histories of concurrent readers and writers on all hosts, while leaders are killed. With
# consistency=strong they are linearizable. Without it, each host shows prefixes of the writes and
# never goes back (tests/tools/history.c). tests/unit/test_observed.c tests the checker.
#
#   HISTORY_S=6   seconds of each run, or longer: until a leader was killed
. "$(dirname "$0")/lib.sh"

need_fuse
HISTORY_S=${HISTORY_S:-6}
WORKERS=3 # for each mount

# Kills the leader and starts it again, repeatedly.
kill_leaders() { # PID [option…]
	local pid=$1 leader end=$((SECONDS + HISTORY_S))
	shift
	while alive "$pid" && { [ $SECONDS -lt $end ] || [ $KILLS = 0 ]; }; do
		sleep 1.5
		leader=$(leader_now) || continue
		member_kill "$leader"
		sleep 0.5
		member_start "$leader" "$@"
		KILLS=$((KILLS + 1))
	done
}

run_history() { # shared|owned [option…]
	local what=$1 rc=0 count writes failed
	shift
	KILLS=0
	mkdir -p "${MNT[1]}/$what"
	background "$TOOLS/history" "$what" 120 $WORKERS "${MNT[1]}/$what" "${MNT[2]}/$what" "${MNT[3]}/$what" \
		>"$T/history" 2>"$T/verdict"
	until_true 60 grep -qx ready "$T/history"
	kill_leaders "$CHILD" "$@"
	kill -TERM "$CHILD" || true
	wait "$CHILD" || rc=$?
	[ $rc = 0 ] || fail "$what: $(cat "$T/verdict")"
	read -r count writes failed < <(tail -n 1 "$T/history")
	[ "$count" -gt 100 ] || fail "$what: only $count operations"
	[ $KILLS -gt 0 ] || fail "no leader was killed"
	result "$what: $count operations, $writes writes of which $failed failed, $KILLS leaders killed"
}

start_cluster 3 --consistency strong --timeout 3
say "consistency=strong: linearizable"
run_history shared --consistency strong --timeout 3
wait_equal
same_mounts
for i in 1 2 3; do
	member_stop "$i"
done

members_start 1 2 3 -- --timeout 3
wait_leader >/dev/null
say "consistency=local: prefixes"
run_history owned --timeout 3
wait_equal
same_mounts

say "consistency=local is not linearizable, and the checker sees that"
# The reader's member stands still while the others continue.
slow=$(a_follower)
fast=$(wait_leader)
dir=shared-late
mkdir "${MNT[$fast]}/$dir"
"$BUILD/coordfs" sync "${MNT[$slow]}"
found=no
for _ in 1 2 3 4 5; do
	rc=0
	"$TOOLS/history" shared 2 $WORKERS "${MNT[$fast]}/$dir" "${MNT[$slow]}/$dir" >/dev/null 2>"$T/verdict" || rc=$?
	[ $rc = 0 ] || { found=yes; break; }
done
[ $found = yes ] || fail "no stale read in ten seconds without consistency=strong"
matches "$(cat "$T/verdict")" 'register .* it had' "the verdict"
