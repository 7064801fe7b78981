#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 240
# The leader is cut off from the network (a network namespace for each member): the length of the
# gap, the state that the cut-off member shows, and the agreement of all members afterwards.
# PARTITION_N runs.
. "$(dirname "$0")/lib.sh"

RUNS=${PARTITION_N:-3}
ELECTION=1000
DAEMON_OPTS=(--election-timeout "$ELECTION" --timeout 8) # an election may need a second round

need_fuse
need_network_namespace
network_create 3
start_cluster 3

others_of() {
	local i
	for i in 1 2 3; do
		[ "$i" = "$1" ] || echo "$i"
	done
}

# Members A and B follow the same leader, one of the given members.
agree() { [ "$(st "$1" .leader)" = "$(st "$2" .leader)" ] && [ "$(st "$1" .leader)" = "$3" ]; }

gaps=()
for ((run = 1; run <= RUNS; run++)); do
	wait_equal
	leader=$(wait_leader)
	mapfile -t others < <(others_of "$leader")
	say "run $run: member $leader leads and is cut off"
	cat >"$T/cut" <<-END
		table inet cut {
			chain in { type filter hook input priority 0; iifname eth0 drop; }
			chain out { type filter hook output priority 0; oifname eth0 drop; }
		}
	END
	"$TOOLS/gap" 300 300 run "nsenter --net=/run/netns/${NETNS[$leader]} nft -f $T/cut" \
		"${MNT[${others[0]}]}" "${MNT[${others[1]}]}" | tee "$T/gap"
	gaps+=("$(sed 's/^gap_ms \([0-9.]*\) .*/\1/' "$T/gap")")
	grep -q ' errors 0 ' "$T/gap" || fail "writes failed although a quorum was there"

	echo "run $run" >"${MNT[${others[0]}]}/majority"
	! timeout -s INT 2 mkdir "${MNT[$leader]}/minority-$run" 2>/dev/null || fail "the cut-off member acknowledged a change"
	[ "$run" = 1 ] || equal "$(cat "${MNT[$leader]}/majority")" "run $((run - 1))" "the file on the cut-off member"
	no_quorum() { [ "$(st "$leader" '.state != "leader" and .leader == 0')" = true ]; }
	until_true 30 no_quorum
	network_heal "$leader"
	wait_equal
	equal "$(cat "${MNT[$leader]}/majority")" "run $run" "content after healing"
done
read -r median max <<<"$(median_max "${gaps[@]}")"
result "gap after a cut of the leader, $RUNS runs, election timeout $ELECTION ms: median $median ms, max $max ms"
[ "${median%.*}" -ge 300 ] || fail "the gap is so short that nothing can have been cut off"
same_mounts

say "a follower is cut off: no gap, and its return does no harm"
leader=$(wait_leader)
follower=$(a_follower)
term=$(st "$leader" .term)
network_cut "$follower"
for n in $(seq 40); do
	echo "$n" >"${MNT[$leader]}/n"
	sleep 0.1
done
network_heal "$follower"
wait_equal
equal "$(st "$leader" .term)" "$term" "the term"
equal "$(wait_leader)" "$leader" "the leader"
equal "$(cat "${MNT[$follower]}/n")" 40 "content"

say "the two followers have no connection: the leader stays, writes succeed everywhere"
mapfile -t others < <(others_of "$leader")
network_cut "${others[0]}" "${others[1]}"
for i in 1 2 3; do
	for n in $(seq 10); do
		echo "$n" >"${MNT[$i]}/from-$i"
	done
done
sleep 2
agree "${others[0]}" "${others[1]}" "$leader" || fail "the leader has changed"
equal "$(st "$leader" .term)" "$term" "the term"
network_heal "${others[0]}"
wait_equal

say "the leader reaches only one follower: a majority is enough"
network_cut "$leader" "${others[1]}"
for n in $(seq 20); do
	echo "$n" >"${MNT[$leader]}/half"
	echo "$n" >"${MNT[${others[0]}]}/other-half"
done
network_heal "$leader"
wait_equal
equal "$(cat "${MNT[${others[1]}]}/half")" 20 "content"

say "a network with interruptions, with writers on all mounts"
background "$TOOLS/writers" run "$T/journal" 600 2 "${MNT[@]}"
for n in $(seq 6); do
	victim=$((RANDOM % 3 + 1))
	network_cut $victim
	sleep "$((RANDOM % 2)).$((RANDOM % 10))"
	network_heal $victim
	sleep "0.$((RANDOM % 10))"
done
wait_leader >/dev/null
count() { cat "$T/journal.count"; }
at=$(count)
more() { [ "$(count)" -gt $((at + 100)) ]; }
until_true 60 more
kill -TERM "$CHILD"
wait "$CHILD" || fail "the writers found a violation"
wait_equal
for i in 1 2 3; do
	"$TOOLS/writers" verify "$T/journal" "${MNT[$i]}"
done
same_mounts
