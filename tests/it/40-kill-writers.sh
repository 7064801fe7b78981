#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 240
# Writers on all three mounts; KILL_N times in turn kill -9 of the leader's daemon and a restart;
# then kill -9 of all three. Afterwards every acknowledged write is in all three mounts, no write is
# there twice, the state hashes are equal, and the databases have no fault.
. "$(dirname "$0")/lib.sh"

KILLS=${KILL_N:-10}
WRITERS=${KILL_WRITERS:-3}

need_fuse
start_cluster 3 --compact 2000 --trailing 1000

background "$TOOLS/writers" run "$T/journal" 3600 "$WRITERS" "${MNT[@]}"
writers=$CHILD
count() { cat "$T/journal.count"; }
until_true 30 test -s "$T/journal.count"
alive "$writers" || fail "the writers ended early"

progress() { # N: true after that many more acknowledged writes
	local want=$(($(count) + $1))
	reached() { [ "$(count)" -ge "$want" ]; }
	until_true 60 reached
}

killed=()
for ((n = 1; n <= KILLS; n++)); do
	progress 200
	leader=$(wait_leader)
	pid=$(member_pid "$leader")
	say "kill $n: member $leader leads, $(count) writes acknowledged"
	kill -KILL "$pid"
	until_true 20 gone "$pid"
	killed+=("$leader")
	# The others continue without it …
	progress 100
	[ "$(wait_leader)" != "$leader" ] || fail "the dead member leads"
	# … and its mountpoint can be mounted again in its present state.
	member_start "$leader"
done
say "all three together, during the writes"
progress 100
for i in 1 2 3; do
	kill -KILL "$(member_pid $i)"
done
for i in 1 2 3; do
	until_true 20 gone "$(member_pid $i)"
done
members_start 1 2 3
progress 300
kill -TERM "$writers"
wait "$writers" || fail "the writers found a violation"

wait_equal
for i in 1 2 3; do
	"$TOOLS/writers" verify "$T/journal" "${MNT[$i]}" | tee "$T/verified"
done
same_mounts
result "$KILLS kills of the leader (${killed[*]}), $(count) acknowledged writes, none lost"
# end_checks runs `coordfs check` for all three.
