#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 200
# Members die, miss more entries than the log has, and return by a snapshot and with a new session,
# repeatedly, with readers and writers on all hosts. With consistency=strong the registers stay
# linearizable.
#
#   BEHIND_N=5   number of repetitions
. "$(dirname "$0")/lib.sh"

ROUNDS=${BEHIND_N:-5}
export HISTORY_DUMP=${BEHIND_DUMP:-} # of a violation
DAEMON_OPTS=(--consistency strong --timeout 20 --election-timeout 1000 --compact 100 --trailing 20)

need_fuse
start_cluster 3
mkdir "${MNT[1]}/d"

missed() { # true if the leader's log begins after $had; the leader may change meanwhile
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
[ "$count" -gt 100 ] || fail "only $count operations"
result "$round members behind their log, $installs snapshots installed: $count operations, $writes writes of which $failed failed"
wait_equal
same_mounts
