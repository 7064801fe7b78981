#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Members restart, one at a time and all together, by SIGTERM and by kill -9: nothing is lost, and a
# member that was away soon has everything.
. "$(dirname "$0")/lib.sh"

need_fuse
start_cluster 3
cp -a "$SRC/base" "${MNT[1]}/base"

say "one at a time, with changes while it is away"
for i in 1 2 3; do
	if [ $((i % 2)) = 0 ]; then member_stop $i; else member_kill $i; fi
	wait_leader >/dev/null
	other=$((i % 3 + 1))
	echo "while $i was away" >"${MNT[$other]}/away-$i"
	cp -a "$SRC/proto" "${MNT[$other]}/proto-$i"
	rm -r "${MNT[$other]}/proto-$i/limits.h"
	member_start $i
	wait_equal
	equal "$(cat "${MNT[$i]}/away-$i")" "while $i was away" "content in mount $i"
	[ ! -e "${MNT[$i]}/proto-$i/limits.h" ] || fail "a removed file exists again"
done
same_mounts

say "a mount that has returned shows what was committed before it was called"
for i in $(seq 8); do
	member_stop 3
	echo "$i" >"${MNT[1]}/fresh"
	member_start 3
	equal "$(cat "${MNT[3]}/fresh")" "$i" "the first read"
done

for how in member_stop member_kill; do
	say "all together: $how"
	echo "before $how" >"${MNT[2]}/all-$how"
	listing "${MNT[2]}" '%i %s %n %C@' >"$T/before"
	term=$(st 1 .term)
	for i in 1 2 3; do
		$how $i &
	done
	wait
	equal "$(running | wc -l)" 0 "running members"
	members_start 1 2 3
	listing "${MNT[2]}" '%i %s %n %C@' >"$T/after"
	diff "$T/before" "$T/after" || fail "mount 2 has changed after $how"
	wait_leader >/dev/null
	[ "$(st 1 .term)" -gt "$term" ] || fail "the term did not grow"
	echo "after $how" >"${MNT[3]}/all-$how"
	wait_equal
	same_mounts
	equal "$(cat "${MNT[1]}/all-$how")" "after $how" "content"
done

say "a removed file that was open when its host died is gone"
exec 7>"${MNT[1]}/orphan"
head -c 100000 /dev/zero >&7
inodes=$(st 2 .store.inodes)
rm "${MNT[1]}/orphan"
equal "$(stat -L -c %s /proc/self/fd/7)" 100000 "size of the removed file"
member_kill 1
exec 7>&- || true
member_start 1
wait_equal
fewer_inodes() { [ "$(st 2 .store.inodes)" -lt "$inodes" ]; }
until_true 60 fewer_inodes
wait_equal
