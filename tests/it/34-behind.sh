#!/bin/bash
# limit: 200
# Members that are cut off while they write, until the log that they miss is gone, and come back by
# a snapshot, again and again, under readers and writers everywhere: with consistency=strong the
# registers are linearizable all the same.
#
#   BEHIND_N=5   how often
. "$(dirname "$0")/lib.sh"

ROUNDS=${BEHIND_N:-5}
CUT_S=1.5
export HISTORY_DUMP=${BEHIND_DUMP:-} # of a violation
DAEMON_OPTS=(--consistency strong --timeout 20 --election-timeout 1000 --compact 100 --trailing 20)

need_fuse
need_network_namespace
network_create 3
start_cluster 3
mkdir "${MNT[1]}/d"

installed() { # by all
	local i sum=0
	for i in 1 2 3; do
		sum=$((sum + $(st "$i" .snapshots_installed)))
	done
	echo $sum
}
caught_up() { [ "$(st "$member" .applied)" -ge "$target" ]; } 2>/dev/null

background "$TOOLS/history" shared 3600 3 "${MNT[@]/%//d}" >"$T/history" 2>"$T/verdict"
cuts=0
while [ "$(installed)" -lt "$ROUNDS" ] && [ $cuts -lt $((3 * ROUNDS)) ]; do
	wait_leader >/dev/null
	cuts=$((cuts + 1))
	member=$((cuts % 3 + 1))
	network_cut $member
	sleep $CUT_S
	target=$(st $((member % 3 + 1)) .commit)
	network_heal $member
	until_true 60 caught_up
done
kill -TERM "$CHILD"
rc=0
wait "$CHILD" || rc=$?
[ $rc = 0 ] || fail "$(cat "$T/verdict")"
read -r count writes failed < <(tail -n 1 "$T/history")
[ "$count" -gt 100 ] || fail "$count operations only"
[ "$(installed)" -gt 0 ] || fail "no snapshot was installed"
result "$cuts members cut off, $(installed) snapshots installed: $count operations, $writes writes of which $failed failed"
wait_equal
same_mounts
