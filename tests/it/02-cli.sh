#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# coordfs status, check and sync: their output, the places where they look, and their failures.
. "$(dirname "$0")/lib.sh"

need_fuse
start_cluster 3
M=${MNT[1]}

say "status, as JSON"
for where in "$M" "${STATE[1]}"; do
	exits 0 "$BUILD/coordfs" status --json "$where"
	jq -e '.cluster == "'"$CLUSTER"'" and .id == 1 and (.members | length) == 3' <<<"$OUT" >/dev/null ||
		fail "status of $where: $OUT"
done
keys='cluster id state leader term commit applied last hash quorum no_leader_ms pending session store
members snapshots_sent snapshots_installed elections limits version'
for key in $keys; do
	jq -e "has(\"$key\")" <<<"$OUT" >/dev/null || fail "status has no $key"
done
for key in inodes bytes log_rows file_bytes; do
	jq -e ".store | has(\"$key\")" <<<"$OUT" >/dev/null || fail "status has no store.$key"
done
matches "$(jq -r .hash <<<"$OUT")" '^[0-9a-f]{32}$' "the hash"
jq -e '.quorum == true and (.state | IN("leader", "follower", "candidate"))' <<<"$OUT" >/dev/null ||
	fail "status: $OUT"
jq -e '.limits.name == 255' <<<"$OUT" >/dev/null || fail "limits: $OUT"
leader=$(wait_leader)
st "$leader" '.members[] | "\(.id) \(.linked) \(.lag)"' >"$T/members"
equal "$(grep -c ' true ' "$T/members")" 3 "linked members as the leader sees them"

say "status, for people"
exits 0 "$BUILD/coordfs" status "$M"
matches "$OUT" "$CLUSTER" "status"
matches "$OUT" "$(st 1 .hash)" "status"
matches "$OUT" "$leader +leader|leader +$leader" "status"

say "figures follow the changes"
before=$(st 1 .store.inodes)
hash=$(st 1 .hash)
touch "$M/a" "$M/b" "$M/c"
equal "$(st 1 .store.inodes)" $((before + 3)) "inodes"
[ "$(st 1 .hash)" != "$hash" ] || fail "the hash is the same after a change"
wait_equal
rm "$M/a" "$M/b" "$M/c"
wait_equal

say "sync"
follower=$(a_follower)
for i in 1 2 3; do
	echo "$i" >"$M/synced"
	exits 0 "$BUILD/coordfs" sync "${MNT[$follower]}"
	equal "$(cat "${MNT[$follower]}/synced")" "$i" "content after sync"
done
exits 0 "$BUILD/coordfs" sync "${MNT[$follower]}/synced"
sync "${MNT[$follower]}/synced" # fsync(2)

say "wrong use"
exits 2 "$BUILD/coordfs"
one_line 'command'
exits 2 "$BUILD/coordfs" frobnicate
one_line 'frobnicate'
for command in status sync check; do
	exits 2 "$BUILD/coordfs" $command
	one_line 'usage'
	exits 2 "$BUILD/coordfs" $command a b c
	one_line 'usage'
done
for where in "$T" "$T/none" no-such-cluster; do
	exits 1 "$BUILD/coordfs" status "$where"
	one_line "$where"
	equal "$OUT" "" "stdout"
done
exits 1 "$BUILD/coordfs" sync "$T/none"
one_line none
exits 0 "$BUILD/coordfs" help
matches "$OUT" status "help"
matches "$OUT" check "help"

say "check, of stopped members and of damaged databases"
head -c 500000 /dev/urandom >"$M/content"
wait_equal
for i in 1 2 3; do
	member_stop $i
	check_database $i
done
exits 0 "$BUILD/coordfs" check "${STATE[1]}/coordfs.db"
exits 1 "$BUILD/coordfs" check "$T/none"
one_line none
echo "this is no database" >"$T/text"
exits 1 "$BUILD/coordfs" check "$T/text"
one_line text
mkdir "$T/damaged"
cp "${STATE[1]}/coordfs.db" "$T/damaged/"
size=$(stat -c %s "$T/damaged/coordfs.db")
for ((at = 4096; at < size; at += 4096)); do
	printf 'damage here' | dd of="$T/damaged/coordfs.db" bs=1 seek=$((at + 2000)) conv=notrunc status=none
done
exits 1 "$BUILD/coordfs" check "$T/damaged"
[ -n "$ERR$OUT" ] || fail "check does not name the fault"
[ "$OUT" != ok ] || fail "check reports ok for a damaged database"
exits 1 "$BUILD/coordfs" status "${STATE[1]}"
one_line .
