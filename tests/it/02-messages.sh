#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Messages that users have stumbled over: each names the thing, the cause and the remedy. The
# versions and the help of all programs.
. "$(dirname "$0")/lib.sh"

need_fuse
need_tool setfattr setpriv
start_cluster 1
M=${MNT[1]}
S=${STATE[1]}
CLI=$BUILD/coordfs

# tells REGEX…: the last `exits` printed one line, which matches each of them.
tells() {
	local regex
	for regex in "$@"; do
		one_line "$regex"
	done
}

say "a state directory that a running member uses"
mkdir "$T/other"
exits 2 "$DAEMON" --name "$CLUSTER" --state "$S" --mount "$T/other"
tells "^coordfsd: $S: in use by a running member \(pid $(member_pid 1)\)" "mounted at $M: unmount it first \(umount $M\)"
exits 2 "$DAEMON" --name elsewhere --state "$S"
tells "^coordfsd: $S: in use by a running member \(pid $(member_pid 1)\)" "stop it first \(kill $(member_pid 1)\)"

say "a user without access to the member"
for command in status locks sessions; do
	exits 1 as_user 1234 "$CLI" $command "$M"
	tells "^coordfs: $M: permission denied: only root" "run the command as root"
done

say "no member at all"
exits 1 "$CLI" status "$T/other"
tells "^coordfs: $T/other: no running member found" "findmnt -t fuse.coordfs"

say "a path that is not in coordfs"
for command in sync "create" "get" "rm" "stat" "lock -n"; do
	touch "$T/other/f"
	# shellcheck disable=SC2086 # a command and its options
	exits 1 "$CLI" $command "$T/other/f" ${command:+$([ "$command" != "lock -n" ] || echo true)}
	tells "^coordfs: $T/other(/f)?: not in a mounted coordfs" "findmnt -t fuse.coordfs"
done

say "a missing database"
exits 1 "$CLI" check "$CLUSTER"
tells "^coordfs: $CLUSTER: no database here" "/var/lib/coordfs/NAME"
exits 1 "$CLI" check "$T/other"
tells "^coordfs: $T/other: no database here"
exits 1 as_user 1234 "$CLI" check "$S"
tells "^coordfs: $S: Permission denied"

say "a guard that names no lock file"
mkdir "$M/guarded"
touch "$M/x"
rc=0
printf 'setxattr %s user.coordfs.guard %s\n' "$M/guarded" "$M/x" |
	"$CLI" txn -C "$M" >"$T/stdout" 2>"$T/stderr" || rc=$?
ERR=$(cat "$T/stderr")
equal $rc 1 "exit status of txn"
tells "^coordfs: txn: line 1: setxattr /guarded: Invalid argument: no regular file has this path" "'/x' for /coord/x"
printf 'setxattr %s user.coordfs.guard /x\n' "$M/guarded" | "$CLI" txn -C "$M" >/dev/null

say "a member that is not running"
pid=$(member_pid 1)
kill -KILL "$pid"
until_true 20 gone "$pid"
exits 1 "$CLI" status "$M"
tells "^coordfs: $M: its member is not running: mount it again"
exits 1 "$CLI" status "$S"
tells "^coordfs: $S: its member is not running"
umount -l "$M"

say "a failing database: no 'Success', and a remedy"
exits 0 "$CLI" check "$S"
# The first page of the table of names; the header and the schema stay intact.
sqlite3 "$S/coordfs.db" 'pragma wal_checkpoint(truncate)' >/dev/null
page=$(sqlite3 "$S/coordfs.db" "select rootpage from sqlite_schema where name = 'dirent'")
size=$(sqlite3 "$S/coordfs.db" 'pragma page_size')
printf '\377\377\377\377\377\377\377\377' |
	dd of="$S/coordfs.db" bs=1 seek=$(((page - 1) * size)) conv=notrunc status=none
member_start 1
echo 'create y' | timeout 60 "$CLI" txn -C "$M" 2>/dev/null || true # a read alone would give EIO
until_true 20 gone "$(member_pid 1)"
grep -q 'the database .* failed: database disk image is malformed, in ".*": move the state directory' "$T/log-1" ||
	fail "the log: $(tail -n 5 "$T/log-1")"
! grep -q Success "$T/log-1" || fail "an error is called Success: $(grep Success "$T/log-1")"
umount -l "$M" 2>/dev/null || true
rm -f "$S"/coordfs.db* # damaged on purpose: not for the check at the end

say "versions and help"
version=$("$CLI" --version)
matches "$version" '^coordfs [0-9]+\.[0-9]+\.[0-9]+$' "coordfs --version"
equal "$("$DAEMON" --version)" "coordfsd ${version#coordfs }" "coordfsd --version"
equal "$("$BUILD/mount.coordfs" -V)" "mount.coordfs ${version#coordfs }" "mount.coordfs -V"
"$CLI" help >"$T/help"
for arguments in -h --help; do
	equal "$("$CLI" $arguments)" "$(cat "$T/help")" "coordfs $arguments"
done
sed -n 's/^  coordfs \([a-z]*\) .*/\1/p' "$T/help" | sort -u >"$T/commands"
[ "$(wc -l <"$T/commands")" -ge 15 ] || fail "help lists $(cat "$T/commands")"
while read -r command; do
	"$CLI" help "$command" >"$T/one"
	matches "$(cat "$T/one")" "^Usage: coordfs $command" "help $command"
	equal "$("$CLI" "$command" --help)" "$(cat "$T/one")" "$command --help"
	equal "$("$CLI" "$command" -h)" "$(cat "$T/one")" "$command -h"
done <"$T/commands"
exits 2 "$CLI" help frobnicate
tells "frobnicate" "coordfs help"
! grep -n '.\{101\}' "$T/help" || fail "help is wider than 100 columns"

say "log lines begin with date, time and zone"
! grep -Evn '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z coordfsd\[' "$T/log-1" ||
	fail "a line of the log has no date"

say "the service manager gets READY=1 and STOPPING=1"
cat >"$T/manager.py" <<-'END'
	import socket, sys
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	s.bind(sys.argv[1])
	open(sys.argv[1] + ".bound", "w").close()
	while True:
	    print(s.recv(4096).decode(), flush=True)
END
python3 "$T/manager.py" "$T/notify" >"$T/notified" &
CHILDREN+=($!)
until_true 20 test -e "$T/notify.bound"
mkdir "$T/ready"
NOTIFY_SOCKET=$T/notify "$DAEMON" --name ready --state "$T/state-ready" --mount "$T/ready" --log "$T/log-ready" --foreground &
pid=$!
CHILDREN+=("$pid")
until_true 30 grep -q '^READY=1$' "$T/notified"
mounted "$T/ready" || fail "READY=1 came before the mount"
! grep -q '^STOPPING=1$' "$T/notified" || fail "STOPPING=1 came before the end"
kill "$pid"
until_true 30 gone "$pid"
until_true 20 grep -q '^STOPPING=1$' "$T/notified"
