#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The life of a daemon: foreground and detached, SIGTERM, umount, a mountpoint that is dead after
# kill -9.
. "$(dirname "$0")/lib.sh"

need_fuse
define_cluster 1
M=${MNT[1]}
S=${STATE[1]}

say "detached: the mount is usable when the parent returns, stdio is closed"
member_args 1
out=$(timeout 60 "$BUILD/coordfsd" "${ARGS[@]}" 2>&1 </dev/null | cat)
equal "$out" "" "output"
touch "$M/at-once"
pid=$(member_pid 1)
equal "$(readlink "/proc/$pid/cwd")" / "working directory"
equal "$(readlink "/proc/$pid/fd/0")" /dev/null "stdin"
[ "$(ps -o sid= -p "$pid" | tr -d ' ')" != "$(ps -o sid= -p $$ | tr -d ' ')" ] || fail "it is in our session"
equal "$(stat -c %a "$S/coordfs.db")" 600 "mode of the database"
matches "$(stat -c '%a %F' "$S/control.sock")" '^6?[0-7]00 socket' "the control socket"

say "umount ends the daemon"
wait_leader >/dev/null
umount "$M"
until_true 20 gone "$pid"
[ ! -e "$S/coordfsd.pid" ] || fail "the pid file is still there"
[ ! -e "$S/control.sock" ] || fail "the control socket is still there"

say "umount of a busy mount is refused, and nothing happens"
member_start 1
pid=$(member_pid 1)
exec 7>"$M/held"
says busy umount "$M"
echo still here >&7
exec 7>&-
equal "$(cat "$M/held")" "still here" "content"
member_stop 1

say "SIGTERM while files are open and a process has its working directory in the mount"
member_start 1
wait_leader >/dev/null
mkdir "$M/cwd"
# shellcheck disable=SC2016 # for the inner shell
background bash -c 'cd "$1/cwd" && exec sleep 1000' - "$M"
until_true 20 test "/proc/$CHILD/cwd" -ef "$M/cwd"
exec 7>"$M/held"
pid=$(member_pid 1)
kill -TERM "$pid"
until_true 20 gone "$pid"
not_mounted "$M" || fail "still mounted"
exec 7>&- || true
kill -KILL "$CHILD"

say "in the foreground: exit code 0 after SIGTERM and SIGINT"
for signal in TERM INT; do
	member_args 1
	"$BUILD/coordfsd" "${ARGS[@]}" --foreground >"$T/out" 2>&1 </dev/null &
	CHILD=$!
	CHILDREN+=("$CHILD")
	until_true 20 mounted "$M"
	until_true 20 test -e "$M/at-once"
	until_true 20 member_runs 1
	kill -$signal "$CHILD"
	rc=0
	wait "$CHILD" || rc=$?
	equal "$rc" 0 "exit code after SIG$signal"
	not_mounted "$M" || fail "still mounted after SIG$signal"
done

say "after kill -9 the mount is dead; the same command line mounts again"
member_start 1
wait_leader >/dev/null
echo kept >"$M/kept"
pid=$(member_pid 1)
kill -KILL "$pid"
until_true 20 gone "$pid"
mounted "$M" || fail "the kernel has removed the mount: this test proves nothing"
says "not connected" ls "$M"
member_start 1
equal "$(cat "$M/kept")" kept "content"
equal "$(grep -c " $M " /proc/mounts)" 1 "mounts on the mountpoint"
wait_leader >/dev/null
echo again >"$M/again"

say "a member without a mount"
member_stop 1
MNT[1]=""
member_start 1
wait_leader >/dev/null
exits 0 "$BUILD/coordfs" status "$S"
member_stop 1

say "every option also as -o key=value, relative paths"
cd "$T"
exits 0 timeout 60 "$BUILD/coordfsd" -o "name=$CLUSTER,state=state-1,mount=m1,log=log-1" -o election-timeout=500
cd /
MNT[1]=$T/m1
equal "$(cat "$M/kept")" kept "content"
