#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Garbage and oversized messages on the peer port, and a member of another cluster: the link is
# closed and logged, and the cluster keeps working.
. "$(dirname "$0")/lib.sh"

need_fuse
start_cluster 3
leader=$(wait_leader)
follower=$(a_follower)
echo before >"${MNT[1]}/f"
term=$(st "$leader" .term)

rss_kib() { sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$(member_pid "$1")/status"; }

for i in "$leader" "$follower"; do
	say "nonsense to member $i"
	pid=$(member_pid "$i")
	before=$(rss_kib "$i")
	address=${ADDR[$i]}
	background "$TOOLS/badpeer" "${address%:*}" "${address##*:}" $RANDOM
	# The cluster works at the same time.
	for n in $(seq 20); do
		echo "$n" >"${MNT[$n % 3 + 1]}/f"
	done
	wait "$CHILD" || fail "badpeer could not connect"
	equal "$(member_pid "$i")" "$pid" "the daemon's pid"
	alive "$pid" || fail "member $i died"
	at_most $(($(rss_kib "$i") - before)) $((64 * 1024)) "KiB that nonsense cost"
	closed=$(grep -c -i 'link\|frame\|peer\|hello' "$T/log-$i" || true)
	[ "$closed" -ge 1 ] || fail "nothing in the log of member $i"
	at_most "$(wc -l <"$T/log-$i")" 400 "lines in the log of member $i"
done

say "a member of another cluster"
mkdir "$T/stranger"
"$BUILD/coordfsd" --name stranger --id 1 --state "$T/stranger" --listen "$(address 8):7410" \
	--peer "2=${ADDR[2]}" --peer "3=${ADDR[3]}" --log "$T/log-stranger"
stranger=$(cat "$T/stranger/coordfsd.pid")
CHILDREN+=("$stranger")
for n in $(seq 50); do
	echo "$n" >"${MNT[$n % 3 + 1]}/f"
	sleep 0.02
done
equal "$("$BUILD/coordfs" status --json "$T/stranger" | jq -r '.leader')" 0 "the stranger's leader"
kill -TERM "$stranger"
until_true 20 gone "$stranger"
grep -qi 'cluster' "$T"/log-[123] "$T/log-stranger" || fail "no member has logged the other cluster"

say "the cluster is healthy"
wait_equal
same_mounts
equal "$(cat "${MNT[3]}/f")" 50 "content"
[ "$(st "$(wait_leader)" .term)" -ge "$term" ]
