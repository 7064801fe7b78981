#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Bad input: one clear line, the right exit status, nothing changed.
. "$(dirname "$0")/lib.sh"

need_fuse
need_tool sqlite3
define_cluster 1
D=$BUILD/coordfsd
S=${STATE[1]}
M=${MNT[1]}

# refused CODE WORDS OPTION…: coordfsd refuses the options in one line, and neither runs nor mounts.
refused() {
	local code=$1 words=$2
	shift 2
	exits "$code" timeout 30 "$D" "$@"
	one_line "$words"
	not_mounted "$M" || fail "it is mounted although it refused: $*"
	! member_runs 1 || fail "it runs although it refused: $*"
}

say "options"
refused 1 'name' --state "$S"
refused 1 'unknown' --name x --state "$S" --no-such-option
refused 1 'unknown' --name x --state "$S" -o no-such-key=1
refused 1 'unknown' --name x --state "$S" stray
refused 1 'name' --name 'a/b' --state "$S"
refused 1 'name' --name "$(printf 'x%.0s' $(seq 65))" --state "$S"
refused 1 'id' --name x --state "$S" --id 0
refused 1 'id' --name x --state "$S" --id many
refused 1 'id' --name x --state "$S" --id
refused 1 'listen' --name x --state "$S" --listen nowhere
refused 1 'listen' --name x --state "$S" --listen 127.0.0.1:99999
refused 1 'peer' --name x --state "$S" --listen 127.0.0.1:7410 --peer 127.0.0.1:7411
refused 1 'peer' --name x --state "$S" --listen 127.0.0.1:7410 --peer 1=127.0.0.1:7411
refused 1 'listen' --name x --state "$S" --peer 2=127.0.0.1:7411
refused 1 'election' --name x --state "$S" --election-timeout 5
refused 1 'timeout' --name x --state "$S" --timeout -3
refused 1 'session-ttl' --name x --state "$S" --session-ttl 1
refused 1 'session-ttl' --name x --state "$S" -o session-ttl=301
refused 1 'serve or deny' --name x --state "$S" -o stale=maybe
refused 1 'log-level' --name x --state "$S" --log-level loud
equal "$(ls -A "$S")" "" "the state directory after nothing but bad options"
exits 0 "$D" --help
for option in name state mount id listen peer timeout session-ttl election-timeout compact trailing foreground log; do
	matches "$OUT" "--$option" "--help"
done
exits 0 "$D" --version
matches "$OUT" 'coordfsd [0-9]' "--version"

say "directories"
echo text >"$T/file"
refused 2 'file' --name x --state "$T/file"
refused 2 'none' --name x --state "$T/none/none/none"
refused 32 'missing' --name x --state "$S" --mount "$T/missing"
refused 32 'file' --name x --state "$S" --mount "$T/file"
refused 2 'log' --name x --state "$S" --log "$T/none/log"
if ! touch -c /proc/sys/kernel/version 2>/dev/null; then
	refused 2 'proc' --name x --state /proc/sys/kernel/state
fi
mkdir -m 0 "$T/unreadable"
exits 2 as_user 12345 "$D" --name x --state "$T/unreadable"
one_line 'unreadable'
rm -rf "$S"

say "a running member keeps its state directory and its mountpoint"
start_cluster 1
echo content >"$M/f"
exits 2 timeout 30 "$D" --name "$CLUSTER" --state "$S" --mount "$T/m1"
one_line 'use|running|lock'
mkdir "$T/other-state"
exits 32 timeout 30 "$D" --name "$CLUSTER" --state "$T/other-state" --mount "$M"
one_line "$M"
equal "$(cat "$M/f")" content "content afterwards"
equal "$(grep -c " $M " /proc/mounts)" 1 "mounts"

say "the database of another member or cluster"
member_stop 1
db=$S/coordfs.db
sum() { sqlite3 "$db" .dump | md5sum; }
before=$(sum)
refused 2 'cluster' --name other --state "$S" --mount "$M"
refused 2 'member' --name "$CLUSTER" --id 7 --state "$S" --mount "$M"
equal "$(sum)" "$before" "the database"
version=$(sqlite3 "$db" 'pragma user_version')
sqlite3 "$db" "pragma user_version = $((version + 1))"
before=$(sum)
refused 2 'newer|version' --name "$CLUSTER" --state "$S" --mount "$M"
equal "$(sum)" "$before" "the database"
equal "$(sqlite3 "$db" 'pragma user_version')" $((version + 1)) "the version"
sqlite3 "$db" "pragma user_version = $version"
cp "$db" "$T/saved.db"
head -c 20000 /dev/urandom >"$db"
rm -f "$db-wal" "$db-shm"
before=$(md5sum <"$db")
refused 2 'database|damaged' --name "$CLUSTER" --state "$S" --mount "$M"
equal "$(md5sum <"$db")" "$before" "the damaged database"
cp "$T/saved.db" "$db"

say "a port in use"
DAEMON_OPTS+=(--listen "${ADDR[1]}")
member_start 1
mkdir -p "$T/second" "$T/m-second"
exits 2 timeout 30 "$D" --name "$CLUSTER" --id 2 --state "$T/second" --mount "$T/m-second" \
	--listen "${ADDR[1]}" --peer "1=$(address 9):7410"
one_line "${ADDR[1]}.*(use|EADDRINUSE)"
not_mounted "$T/m-second" || fail "it is mounted although it refused"
equal "$(cat "$M/f")" content "content at the end"
