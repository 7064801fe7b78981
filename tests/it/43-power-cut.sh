#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 240
# The power fails, and a member loses its unsynced data (tests/tools/coordfsd_cut.c). Afterwards
# everything that any mount acknowledged is there, after the cut of one member and of all. First the
# proof that these cuts lose unsynced data: with a disk that lies about syncs, acknowledged data are
# lost; they are there if only the process is killed.
. "$(dirname "$0")/lib.sh"

need_fuse
DAEMON=$TOOLS/coordfsd_cut

say "a disk that lies"
define_cluster 1
cuts_possible
export CUT_LIES=1
lost=0
for ((round = 1; round <= 12 && lost == 0; round++)); do
	member_start 1
	for ((k = 1; k <= 20; k++)); do
		echo "$round" >"${MNT[1]}/r$round-$k"
	done
	if [ $round = 1 ]; then
		member_kill 1
		member_start 1
		equal "$(find "${MNT[1]}" -type f -size +0 | wc -l)" 20 "files after the process was killed"
	fi
	members_cut 1 1
	(member_start 1) >"$T/lies" 2>&1 || { lost=damaged; break; }
	for ((k = 1; k <= 20; k++)); do
		[ -s "${MNT[1]}/r$round-$k" ] || lost=$((lost + 1))
	done
	member_kill 1
done
[ "$lost" != 0 ] || fail "no unsynced data were lost in $round cuts"
say "round $round: of 20 files, lost: $lost"
unset CUT_LIES
! member_runs 1 || member_kill 1
rm -r "${STATE[1]}" "${STATE[1]}.left" "${STATE[1]}.cut"

say "a disk that does not lie"
define_cluster 3
cuts_possible
members_start 1 2 3
wait_leader >/dev/null
mkdir "${MNT[1]}/d" # so nothing is written below a missing mount
for i in 1 2 3; do
	"$BUILD/coordfs" sync "${MNT[i]}"
done

write_lines() { # MEMBER: records the acknowledged lines
	local i=$1 n=0
	until [ -e "$T/stop" ]; do
		n=$((n + 1))
		(echo "$i $n" >>"${MNT[i]}/d/lines-$i") 2>/dev/null && echo "$i $n" >>"$T/acknowledged-$i"
		sleep 0.02
	done
}
for i in 1 2 3; do
	: >"$T/acknowledged-$i"
	background write_lines "$i"
done

all_there() {
	local m
	LC_ALL=C sort "$T"/acknowledged-* >"$T/want"
	for m in 1 2 3; do
		"$BUILD/coordfs" sync "${MNT[m]}"
		LC_ALL=C sort "${MNT[m]}"/d/lines-* >"$T/got"
		[ "$(uniq -d "$T/got" | wc -l)" = 0 ] || fail "lines are doubled on $m: $(uniq -d "$T/got" | head -n 3)"
		LC_ALL=C comm -23 "$T/want" "$T/got" >"$T/missing"
		[ ! -s "$T/missing" ] || fail "member $m lacks: $(head -n 3 "$T/missing")"
	done
}

for ((round = 1; round <= 3; round++)); do
	victims=($((round % 3 + 1)))
	[ $((round % 3)) != 0 ] || victims=(1 2 3)
	sleep 0.5
	members_cut $((RANDOM % 8 + 1)) "${victims[@]}"
	members_start "${victims[@]}"
	wait_leader >/dev/null
	all_there
done
touch "$T/stop"
for pid in "${CHILDREN[@]}"; do
	wait "$pid" || true
done
wait_equal
all_there
same_mounts
result "$(cat "$T"/acknowledged-* | wc -l) lines acknowledged, none lost in 2 cuts of one member and 1 of all"
