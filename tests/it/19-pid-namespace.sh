#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A daemon in a PID namespace of its own, as in a container: it sees no process that uses its mount.
# Root and users outside work with the commands; what a process has read is durable.
. "$(dirname "$0")/lib.sh"

need_fuse
need_mount_namespace
need_tool setpriv python3 pgrep
C=$BUILD/coordfs

# The mounts below $T/shared appear in both mount namespaces.
mkdir "$T/shared"
mount --bind "$T/shared" "$T/shared"
mount --make-shared "$T/shared"
define_cluster 1
M=$T/shared/m
MNT[1]=$M
mkdir "$M"
member_args 1

start_apart() {
	background unshare -p -f -m --propagation unchanged --mount-proc "$DAEMON" --foreground "${ARGS[@]}"
	UNSHARE=$CHILD
	until_true 30 mounted "$M"
	APART=$(pgrep -P "$UNSHARE") # the daemon's pid in our namespace
	until_true 30 touch "$M/.ready"
}
start_apart
[ "$(readlink "/proc/$APART/ns/pid")" != "$(readlink /proc/self/ns/pid)" ] || fail "it is in our namespace"

say "root outside"
exits 0 "$C" create "$M/created"
exits 0 "$C" put "$M/f" <<<one
equal "$(cat "$M/f")" one "content"
exits 0 "$C" put --if-version 1 "$M/f" <<<two
exits 0 "$C" rm "$M/created"
mkdir -m 700 "$M/private"
chown 1000:1000 "$M/private"
exits 0 "$C" txn -C "$M/private" <<<'put x content'
exits 0 "$C" txn -C "$M" <<<'setattr f uid 1000'
exits 0 setfattr -n user.coordfs.ttl -v 1000 "$M/f"
exits 0 setfattr -n user.coordfs.quota.entries -v 50 "$M/private"
exits 1 "$C" txn -C "$M" <<<'setxattr f trusted.x 1' # needs CAP_SYS_ADMIN, which nobody can see
matches "$ERR" 'not permitted' "why"

say "a user outside"
exits 0 as_user 1000 "$C" put "$M/private/mine" <<<mine
exits 1 as_user 1001 "$C" txn -C "$M" <<<'put private/theirs x'
matches "$ERR" 'Permission denied' "why"
exits 1 as_user 1001 "$C" put "$M/theirs" <<<x

say "locks, and the process that nobody can see"
background "$C" lock "$M/L" -- sleep 1000
holds() { ! "$C" lock -n "$M/L" -- true; }
until_true 30 holds
exits 0 "$C" locks "$M"
matches "$OUT" ' - .*/L$' "the list"
equal "$("$C" locks --json "$M" | jq -c '[.[] | .pid]')" '[null]' "the pid"
kill "$CHILD"
released() { "$C" lock -n "$M/L" -- true; }
until_true 30 released

say "what one process reads of another one's writing is durable"
python3 - "$M/read" "$APART" <<'PY' >"$T/seen"
import os, signal, sys
path, daemon = sys.argv[1], int(sys.argv[2])
there, go = os.pipe()
reader = os.fork()
if reader == 0: # must not have the file open when it is written
    os.close(go)
    os.read(there, 1)
    with open(path, "rb") as f:
        seen = len(f.read())
    os.kill(daemon, signal.SIGKILL)
    print(seen, flush=True)
    os._exit(0)
fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
for _ in range(4):
    os.write(fd, b"x" * 131072)
os.write(go, b"x")
os.waitpid(reader, 0)
PY
until_true 30 gone "$APART"
member_unmount 1
seen=$(cat "$T/seen")
[ "$seen" -gt 0 ] || fail "the reader has seen nothing"
start_apart
[ "$(stat -c %s "$M/read")" -ge "$seen" ] || fail "a process has read $seen bytes, $(stat -c %s "$M/read") are left"
kill "$APART"
until_true 30 gone "$UNSHARE"
not_mounted "$M" || fail "it is still mounted"
umount "$T/shared"
result "$seen bytes were read, and are there after the daemon was killed"
