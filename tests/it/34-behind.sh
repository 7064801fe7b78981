#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 200
# Members that die, miss more than the log has, and come back by a snapshot and with a new session,
# again and again, under readers and writers everywhere: with consistency=strong the registers are
# linearizable all the same.
#
#   BEHIND_N=5   how often
. "$(dirname "$0")/lib.sh"

ROUNDS=${BEHIND_N:-5}
export HISTORY_DUMP=${BEHIND_DUMP:-} # of a violation
DAEMON_OPTS=(--consistency strong --timeout 20 --election-timeout 1000 --compact 100 --trailing 20)

need_fuse
start_cluster 3
mkdir "${MNT[1]}/d"

missed() { # by what the leader's log has; who leads may change meanwhile
	local leader
	leader=$(leader_now) && [ "$(st "$leader" .first)" -gt "$had" ]
} 2>/dev/null
back() { [ "$(st "$member" .applied)" -gt "$had" ]; } 2>/dev/null

background "$TOOLS/history" shared 3600 5 "${MNT[@]/%//d}" >"$T/history" 2>"$T/verdict"
installs=0
for ((round = 0; installs < ROUNDS && round < 3 * ROUNDS; round++)); do
	member=$(a_follower)
	had=$(st "$member" .commit)
	member_kill "$member"
	until_true 60 missed
	member_start "$member"
	until_true 60 back
	installs=$((installs + $(st "$member" .snapshots_installed)))
done
[ $installs -gt 0 ] || fail "no snapshot was installed"
kill -TERM "$CHILD"
rc=0
wait "$CHILD" || rc=$?
[ $rc = 0 ] || fail "$(cat "$T/verdict")"
read -r count writes failed < <(tail -n 1 "$T/history")
[ "$count" -gt 100 ] || fail "$count operations only"
result "$round members behind their log, $installs snapshots installed: $count operations, $writes writes of which $failed failed"
wait_equal
same_mounts
