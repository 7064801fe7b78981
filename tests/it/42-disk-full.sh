#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 120
# The disk of a member is full. The member never acknowledges data that it has not stored: it stops
# or steps down, and logs the reason. The others continue. With space again, it gets everything.
. "$(dirname "$0")/lib.sh"

need_fuse
DAEMON_OPTS+=(--compact 200 --trailing 100 --timeout 5)
define_cluster 3
small=3
mount -t tmpfs -o size=12m none "${STATE[$small]}"
members_start 1 2 3
wait_leader >/dev/null
mkdir "${MNT[1]}/d"
head -c 100000 /dev/urandom >"$T/random"
wait_equal
cp "$T/random" "${MNT[$small]}/d/first"
wait_equal

say "a follower or leader whose disk fills up; writers on the other mounts"
written=0
for i in $(seq 300); do
	m=$((i % 2 + 1))
	# While a leader with a full disk steps down, a write may fail; then it is not acknowledged.
	if cp "$T/random" "${MNT[$m]}/d/f$i" 2>/dev/null; then
		written=$((written + 1))
		echo "f$i" >>"$T/acknowledged"
	fi
done
[ $written -ge 250 ] || fail "only $written of 300 writes succeeded although two members are healthy"
[ "$(st 1 '.store.bytes')" -gt 20000000 ] || fail "too little was written to fill the disk"
if member_runs $small; then
	applied=$(st $small .applied)
	[ "$applied" -lt "$(st 1 .applied)" ] || fail "the full member reports that it has applied everything"
fi
grep -Eqi 'full|space|ENOSPC' "$T/log-$small" || fail "its log does not name the full disk"

say "space again: it has everything"
mount -o remount,size=200m "${STATE[$small]}"
if ! member_runs $small; then
	member_unmount $small
	member_start $small
fi
wait_equal
for i in 1 2 3; do
	while read -r name; do
		cmp "$T/random" "${MNT[$i]}/d/$name"
	done <"$T/acknowledged"
done
same_mounts
for i in 1 2 3; do
	member_stop $i
	check_database $i
done
umount "${STATE[$small]}"

say "a single member whose disk fills up: an error, and no false acknowledgement"
N=1
CLUSTER=$CLUSTER-single
STATE[1]=$T/lone
mkdir "$T/lone"
mount -t tmpfs -o size=8m none "$T/lone"
member_start 1
wait_leader >/dev/null
: >"$T/acknowledged"
for i in $(seq 150); do
	if timeout 60 cp "$T/random" "${MNT[1]}/f$i" 2>"$T/said"; then
		echo "f$i" >>"$T/acknowledged"
	elif ! member_runs 1; then
		break
	fi
done
lines=$(wc -l <"$T/acknowledged")
[ "$lines" -gt 5 ] && [ "$lines" -lt 100 ] || fail "$lines writes of 100 kB acknowledged on a disk of 8 MB"
say "$lines acknowledged, then: $(cat "$T/said")"
mount -o remount,size=100m "$T/lone"
if ! member_runs 1; then
	member_unmount 1
	member_start 1
fi
wait_leader >/dev/null
while read -r name; do
	cmp "$T/random" "${MNT[1]}/$name"
done <"$T/acknowledged"
cp "$T/random" "${MNT[1]}/after"
member_stop 1
check_database 1
umount "$T/lone"
N=0
