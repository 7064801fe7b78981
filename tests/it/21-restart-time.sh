#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 150
# alone: it measures
# A restart takes as long with many files as with few. RESTART_N=100000,1000000 for the full run (it
# takes about an hour); the default is small.
. "$(dirname "$0")/lib.sh"

COUNTS=${RESTART_N:-2000,20000}

need_fuse
start_cluster 1

# Milliseconds until a file can be read, and until one can be written.
restart_ms() {
	local begin readable
	member_stop 1
	begin=$(now_ms)
	member_start 1
	cat "${MNT[1]}/probe" >/dev/null
	readable=$(($(now_ms) - begin))
	echo again >"${MNT[1]}/probe"
	echo "$readable $(($(now_ms) - begin))"
}

echo probe >"${MNT[1]}/probe"
have=0
times=()
for count in ${COUNTS//,/ }; do
	mkdir "${MNT[1]}/fill-$count"
	begin=$(now_ms)
	"$TOOLS/bench" fill "${MNT[1]}/fill-$count" 32 $((count - have)) 100 >"$T/fill"
	have=$count
	say "$count files after $(($(now_ms) - begin)) ms: $(cat "$T/fill")"
	reads=()
	writes=()
	for _ in 1 2 3 4 5; do
		read -r a b <<<"$(restart_ms)"
		reads+=("$a")
		writes+=("$b")
	done
	read -r read_median _ <<<"$(median_max "${reads[@]}")"
	read -r write_median _ <<<"$(median_max "${writes[@]}")"
	result "restart with $count files: readable after $read_median ms, writable after $write_median ms"
	times+=("$read_median")
	[ "$(st 1 .store.inodes)" -gt "$count" ] || fail "files are missing"
done

# This checks no time but a ratio: ten times as many files must not take several times as long. The
# second limit is for a busy machine.
first=${times[0]} last=${times[-1]}
at_most "$last" $((first * 3 + 1000)) "ms for the last restart; the first took $first"
