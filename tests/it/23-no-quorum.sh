#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 150
# Without a quorum, reads work; changes fail with ETIMEDOUT after --timeout, can be interrupted and
# killed before, and leave nothing half done. With the quorum back, everything works again.
. "$(dirname "$0")/lib.sh"

need_fuse
start_cluster 3 --timeout 1
mkdir "${MNT[1]}/d"
echo content >"${MNT[1]}/d/f"
seq 1000 >"${MNT[1]}/numbers"
wait_equal
lone=$(a_follower)
M=${MNT[$lone]}
others=()
for i in 1 2 3; do
	[ "$i" = "$lone" ] || others+=("$i")
done
for i in "${others[@]}"; do
	member_kill "$i"
done
no_leader() { [ "$(st "$lone" '.leader == 0 and (.quorum | not)')" = true ]; }
until_true 30 no_leader
[ "$(st "$lone" .no_leader_ms)" -gt 0 ] || fail "no_leader_ms is 0 without a leader"

say "reads work"
equal "$(cat "$M/d/f")" content "content"
seq 1000 | cmp - "$M/numbers"
equal "$(echo "$M"/*)" "$M/d $M/numbers" "names"
equal "$(stat -c %s "$M/d/f")" 8 "size"
says "No such file" cat "$M/none"

# gives_up COMMAND…: ETIMEDOUT, not before --timeout, and not long after it.
gives_up() {
	local begin took
	begin=$(now_ms)
	says "timed out" timeout 60 "$@"
	took=$(($(now_ms) - begin))
	[ $took -ge 800 ] || fail "'$*' gave up after $took ms"
	at_most $took $((20000 * WAIT_FACTOR)) "ms until '$*' gave up"
}

say "changes give ETIMEDOUT"
gives_up mkdir "$M/new"
gives_up bash -c 'echo x >"$1"' - "$M/d/f" # dash calls every error an I/O error
echo other >"$T/other"
gives_up cp "$T/other" "$M/d/f"
gives_up dd if="$T/other" of="$M/numbers" conv=notrunc oflag=append status=none
gives_up touch "$M/d/new"
gives_up rm "$M/numbers"
gives_up mv "$M/numbers" "$M/d/"
gives_up chmod 777 "$M/d"
gives_up ln -s x "$M/link"
gives_up setfattr -n user.x -v 1 "$M/d/f"
equal "$(cat "$M/d/f")" content "content"
equal "$(find "$M" | wc -l)" 4 "entries"

say "a barrier fails"
! timeout 60 "$BUILD/coordfs" sync "$M" 2>"$T/said" || fail "sync succeeded without a quorum"

say "with a long timeout: interrupted and killed"
member_stop "$lone"
member_start "$lone" --timeout 300
until_true 30 no_leader

say "a mount without a majority is ready after a while, with a warning"
matches "$(cat "$T/start-$lone")" "warning: no majority of the members has answered" "the warning"
matches "$(cat "$M/.coordfs/health")" "^not caught up since the start" "health"
equal "$(cat "$M/d/f")" content "content"

say "with consistency=strong nothing can be read, but the member is found by its mount"
member_stop "$lone"
member_start "$lone" --timeout 1 --consistency strong
matches "$("$BUILD/coordfs" status "$M")" "member $lone .(follower|candidate)." "status"
member_stop "$lone"
member_start "$lone" --timeout 300
until_true 30 no_leader

say "changes wait for the timeout"
for signal in INT TERM KILL; do
	for what in "mkdir $M/new" "rm $M/numbers" "truncate -s 10 $M/d/f" "mv $M/numbers $M/d/x" "sync $M/d/f"; do
		begin=$(now_ms)
		rc=0
		# shellcheck disable=SC2086 # words
		timeout -s $signal 0.3 $what 2>/dev/null || rc=$?
		took=$(($(now_ms) - begin))
		[ $rc != 0 ] || fail "'$what' succeeded without a quorum"
		at_most $took $((20000 * WAIT_FACTOR)) "ms until '$what' ended after SIG$signal"
	done
done
say "several processes wait, and each can be killed"
pids=()
for i in $(seq 10); do
	mkdir "$M/many-$i" 2>/dev/null &
	pids+=($!)
	CHILDREN+=($!)
done
sleep 0.5
equal "$(cat "$M/d/f")" content "content while they wait"
for pid in "${pids[@]}"; do
	kill -KILL "$pid" 2>/dev/null || true
done
for pid in "${pids[@]}"; do
	until_true 20 gone "$pid"
done

say "a remount shortens the time, and makes it longer again"
"$DAEMON" --remount --name "$CLUSTER" --mount "$M" -o timeout=1
gives_up mkdir "$M/shorter"
"$DAEMON" --remount --name "$CLUSTER" --mount "$M" -o timeout=300

say "waiting requests do not delay a stop"
mkdir "$M/waits" 2>/dev/null &
CHILDREN+=($!)
sleep 0.3
member_stop "$lone"
member_start "$lone" --timeout 300

say "waiting changes are committed when the quorum is back"
mkdir "$M/patient" &
patient=$!
CHILDREN+=("$patient")
sleep 0.5
for i in "${others[@]}"; do
	member_start "$i"
done
wait "$patient" || fail "mkdir failed although the quorum came back"
healthy() { [ "$(cat "$M/.coordfs/health")" = ok ]; }
until_true 30 healthy
[ -d "${MNT[$lone]}/patient" ] || fail "the directory does not exist"
wait_equal
same_mounts
echo after >"$M/d/f"
wait_equal
for i in 1 2 3; do
	equal "$(cat "${MNT[$i]}/d/f")" after "content in mount $i"
done

say "an abandoned replacement happens wholly or not at all, also later"
for i in "${others[@]}"; do
	member_stop "$i"
done
member_stop "$lone"
member_start "$lone" --timeout 1
until_true 30 no_leader
gives_up cp "$T/other" "$M/d/f"
gives_up sh -c 'dd if="$1" of="$2" status=none' - "$T/other" "$M/patient/new"
rc=0
timeout -s INT 3 cp "$T/other" "$M/numbers" 2>/dev/null || rc=$?
[ $rc != 0 ] || fail "cp succeeded without a quorum"
for i in "${others[@]}"; do
	member_start "$i"
done
wait_equal
same_mounts
for i in 1 2 3; do
	matches "$(cat "${MNT[$i]}/d/f")" '^(after|other)$' "the file in mount $i after the replacement"
	[ "$(wc -l <"${MNT[$i]}/numbers")" = 1000 ] || equal "$(cat "${MNT[$i]}/numbers")" other "numbers in mount $i"
done
