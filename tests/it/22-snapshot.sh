#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 200
# A member is down while SNAP_N changes are made and its part of the log is compacted. It catches up
# by a snapshot while writers continue. Prints the peak memory of both sides. SNAP_N=200000 for the
# full run.
. "$(dirname "$0")/lib.sh"

CHANGES=${SNAP_N:-4000}
FILES=$((CHANGES / 4))
DAEMON_OPTS+=(--compact 500 --trailing 200)

need_fuse
start_cluster 3
down=$(a_follower)
leader=$(wait_leader)

peak_kib() { sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$(member_pid "$1")/status"; }

# The peak from now on.
reset_peak() { echo 5 >"/proc/$(member_pid "$1")/clear_refs"; }

say "member $down has worked, and is stopped"
echo before >"${MNT[$leader]}/before"
mkdir "${MNT[$leader]}/doomed"
touch "${MNT[$leader]}/doomed/"{1,2,3}
wait_equal
member_stop "$down"
leader=$(wait_leader)
missed=$(st "$leader" .applied)

say "$CHANGES changes: $FILES files, the rest overwrites"
mkdir "${MNT[$leader]}/fill"
"$TOOLS/bench" fill "${MNT[$leader]}/fill" 32 $FILES 2000
"$TOOLS/bench" churn "${MNT[$leader]}" 32 $((CHANGES - 2 * FILES))
rm -r "${MNT[$leader]}/doomed"
mv "${MNT[$leader]}/before" "${MNT[$leader]}/renamed"
first=$(st "$leader" .first)
[ "$first" -gt "$missed" ] || fail "the log still begins at $first: it was not compacted beyond $missed"

say "writers on the other two mounts while the member returns"
others=()
for i in $(running); do
	others+=("${MNT[$i]}")
	reset_peak "$i"
done
background "$TOOLS/writers" run "$T/journal" 600 4 "${others[@]}"
count() { cat "$T/journal.count" 2>/dev/null || echo 0; }
until_true 30 test -s "$T/journal.count"
begin=$(now_ms)
member_start "$down"
usable=$(($(now_ms) - begin))
installed() { [ "$(st "$down" .snapshots_installed)" -ge 1 ] 2>/dev/null; }
until_true $((60 + CHANGES / 500)) installed
took=$(($(now_ms) - begin))
target=$(st "$leader" .commit)
caught_up() { [ "$(st "$down" .applied)" -ge "$target" ]; }
until_true 60 caught_up
at=$(count)
more() { [ "$(count)" -gt $((at + 100)) ]; }
until_true 60 more
kill -TERM "$CHILD"
wait "$CHILD" || fail "the writers found a violation"
leader=$(wait_leader)
sent=0
for i in $(running); do
	sent=$((sent + $(st "$i" .snapshots_sent)))
done
[ "$sent" -ge 1 ] || fail "no member reports that it has sent a snapshot"
result "$CHANGES changes missed: mount usable after $usable ms, snapshot installed after $took ms," \
	"database $(($(st "$down" .store.file_bytes) >> 10)) KiB, peak memory of the sender $(peak_kib "$leader") KiB," \
	"of the receiver $(peak_kib "$down") KiB"

say "it has everything, through the same mount as before"
wait_equal
same_mounts
equal "$(cat "${MNT[$down]}/renamed")" before "content"
[ ! -e "${MNT[$down]}/doomed" ] || fail "a removed directory is still there"
for i in 1 2 3; do
	"$TOOLS/writers" verify "$T/journal" "${MNT[$i]}"
done
echo through >"${MNT[$down]}/through-it"
wait_equal
# Constant memory: no more than the database's own caches, for any size of the database.
at_most "$(peak_kib "$leader")" $((600 * 1024)) "KiB of the sender"
at_most "$(peak_kib "$down")" $((600 * 1024)) "KiB of the receiver"

say "a receiver that dies during the transfer begins again"
member_kill "$down"
"$TOOLS/bench" churn "${MNT[$leader]}" 32 2000 >/dev/null
for delay in 0 0.05 0.1 0.2; do
	member_start "$down"
	sleep $delay
	member_kill "$down"
done
member_start "$down"
wait_equal
same_mounts
