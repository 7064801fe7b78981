#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 200
# Large files are replaced in one step on every host, although they take many log entries. If the
# writing host dies in the middle, no trace of the change is left. Prints how long the largest file
# takes.
. "$(dirname "$0")/lib.sh"

need_fuse
start_cluster 3
w=$(a_follower)
leader=$(wait_leader)
for i in 1 2 3; do
	[ "$i" = "$w" ] || [ "$i" = "$leader" ] || o=$i
done
head -c 12000000 /dev/urandom >"$T/big"
head -c $((64 << 20)) /dev/urandom >"$T/largest"
echo old >"${MNT[$w]}/f"
wait_equal

# Writes sizes other than the two expected ones to $T/seen.
watch_size() {
	local size
	while :; do
		size=$(stat -c %s "$1" 2>/dev/null) || continue
		[ "$size" = "$2" ] || [ "$size" = "$3" ] || echo "$size" >>"$T/seen"
	done
}

version() { getfattr --absolute-names --only-values -n user.coordfs.version "${MNT[$o]}/f"; }

say "replaced in one step"
for try in $(seq 20); do
	echo old >"${MNT[$w]}/f"
	wait_equal
	: >"$T/seen"
	before=$(version)
	background watch_size "${MNT[$o]}/f" 4 12000000
	cp "$T/big" "${MNT[$w]}/f"
	"$BUILD/coordfs" sync "${MNT[$o]}"
	kill "$CHILD"
	wait "$CHILD" 2>/dev/null || true
	steps=$(($(version) - before))
	cmp "$T/big" "${MNT[$o]}/f"
	say "try $try: $steps steps"
	# A pause of the writer ends a step, and on a busy machine the writer may be paused.
	[ $steps != 1 ] || break
done
equal $steps 1 "steps"
equal "$(cat "$T/seen")" "" "sizes seen meanwhile"

say "the largest file, twice"
for i in 1 2; do
	begin=$(now_ms)
	cp "$T/largest" "${MNT[$w]}/largest"
	result "64 MiB written in $(($(now_ms) - begin)) ms"
done
[ "$(wait_leader)" = "$leader" ] || result "an election happened meanwhile" # on a busy machine
wait_equal
cmp "$T/largest" "${MNT[$o]}/largest"
rm "${MNT[$w]}/largest"

# The number of used blocks, as another host sees it.
used() { stat -f -c '%b %f' "${MNT[$o]}" | { read -r all free && echo $((all - free)); }; }
is_used() { [ "$(used)" = "$1" ]; }
# The reaper frees removed files when no process has them open any more.
until_true 60 is_used $(((12000000 + 4095) / 4096))

say "a host dies in the middle"
echo old >"${MNT[$w]}/f"
wait_equal
clean=$(used)
for try in $(seq 30); do
	cp "$T/largest" "${MNT[$w]}/f" 2>/dev/null &
	copy=$!
	CHILDREN+=("$copy")
	while alive "$copy" && is_used "$clean"; do :; done
	seen=$(used)
	member_kill "$w"
	wait "$copy" 2>/dev/null || true
	wait_leader >/dev/null
	size=$(stat -c %s "${MNT[$o]}/f")
	say "try $try: killed with $((seen - clean)) blocks staged; the file has $size bytes"
	[ "$seen" = "$clean" ] || [ "$size" != 4 ] || break
	member_start "$w"
	echo old >"${MNT[$w]}/f"
	wait_equal
	until_true 60 is_used "$clean"
done
equal "$size" 4 "the file's size"
equal "$(cat "${MNT[$o]}/f")" old "the file"
member_start "$w" # its new session ends the old one
until_true 60 is_used "$clean"
wait_equal
equal "$(cat "${MNT[$w]}/f")" old "the file on the host that died"
