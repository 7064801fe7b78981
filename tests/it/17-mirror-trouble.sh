#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 240
# The mirror in trouble: local changes that are faster, processes that read too early, kill -9 of
# the mirror and of the daemon, umount, directories that are mounted over or removed, locks while
# the mirror is stopped.
. "$(dirname "$0")/lib.sh"

# The mirror's process may be stopped for this time and 2 s more.
DAEMON_OPTS+=(-o timeout=60)

need_fuse
need_tool inotifywait python3
start_cluster 3
A=${MNT[$(wait_leader)]} B_NUMBER=$(a_follower)
B=${MNT[$B_NUMBER]}

mirror() { st "$B_NUMBER" ".mirror.$1"; }
mirror_on() { [ "$(mirror on)" = true ]; }
until_true 60 mirror_on

sync_b() { "$BUILD/coordfs" sync "$B"; }

# The mirror's process does nothing while it is stopped: the change arrives, but no event.
hold() { kill -STOP "$(mirror pid)"; }
release() {
	kill -CONT "$(mirror pid)"
	sync_b
}
# Waits until B has applied the change that was made on A.
applied() {
	local want
	want=$(st "$(wait_leader)" .commit)
	until_true 60 bash -c "[ \"\$('$BUILD/coordfs' status --json '${STATE[$B_NUMBER]}' | jq .applied)\" -ge $want ]"
}

# watch_begin PATH: writes events to $T/events.
watch_begin() {
	: >"$T/watch-log"
	background inotifywait -m -e create,delete,move,close_write,attrib,modify --format '%e %f' "$1" \
		>"$T/events" 2>"$T/watch-log"
	WATCHER=$CHILD
	until_true 60 grep -q established "$T/watch-log"
}
ends=0
# watch_end PATH-ON-A WANTED: the events must be these (separated by ;), then the end.
watch_end() {
	ends=$((ends + 1))
	: >"$1/end-$ends"
	until_true 60 grep -q "CREATE end-$ends" "$T/events"
	kill "$WATCHER"
	wait "$WATCHER" 2>/dev/null || true
	equal "$(sed '/CREATE end-/,$d' "$T/events" | tr '\n' ';')" "$2" "events"
}

say "a later change of this host wins: no event for the earlier one"
mkdir "$A/first"
sync_b
watch_begin "$B/first"
hold
echo x >"$A/first/f"
applied
rm "$B/first/f"
release
watch_end "$A/first" 'DELETE f;'
[ ! -e "$B/first/f" ] || fail "f exists again"
[ "$(mirror refused)" -ge 1 ] || fail "nothing was refused"

say "a process reads before the event: all events, once"
mkdir "$A/early"
echo x >"$A/early/old"
mkdir "$A/early/olddir"
sync_b
ls "$B/early" "$B/early/none" >/dev/null 2>&1 || true
watch_begin "$B/early"
hold
mkdir "$A/early/dir"
echo x >"$A/early/new"
mv "$A/early/old" "$A/early/moved"
mv "$A/early/olddir" "$A/early/movedir"
applied
for name in dir new moved movedir; do
	stat "$B/early/$name" >/dev/null 2>&1 || true
done
ls -l "$B/early" >/dev/null
release
watch_end "$A/early" 'CREATE,ISDIR dir;CREATE new;MODIFY new;CLOSE_WRITE,CLOSE new;MOVED_FROM old;MOVED_TO moved;MOVED_FROM,ISDIR olddir;MOVED_TO,ISDIR movedir;'
[ ! -e "$B/early/old" ] && [ -d "$B/early/movedir" ] && [ "$(cat "$B/early/moved")" = x ] ||
	fail "the names are wrong: $(ls "$B/early")"

say "a file that another host replaces is never absent and never half written"
mkdir "$A/replaced"
echo 0 >"$A/replaced/f"
sync_b
background python3 -c "
import os, sys
bad, looks, last = [], 0, 0
while last < 300:
    try:
        fd = os.open('$B/replaced/f', os.O_RDONLY | (os.O_DIRECT if looks % 2 else 0))
        seen = os.pread(fd, 100, 0)
        os.close(fd)
        if len(seen) < 2 or int(seen) < last:
            bad.append(seen)
        last = max(last, int(seen or 0))
    except OSError as e:
        bad.append(e.strerror)
    looks += 1
open('$T/looks', 'w').write('%d looks, %d bad: %s' % (looks, len(bad), sorted(set(map(str, bad)))))"
LOOKER=$CHILD
python3 -c "
import os
os.chdir('$A/replaced')
for i in range(1, 301):
    with open('.f.%d' % i, 'w') as f:
        f.write('%d\n' % i)
    os.rename('.f.%d' % i, 'f')"
until_true 60 gone "$LOOKER"
matches "$(cat "$T/looks")" ' 0 bad' "reading what is replaced"
result "$(cat "$T/looks")"

say "writing through a name that another host has just moved away"
mkdir "$A/moved"
echo original >"$A/moved/x"
sync_b
cat "$B/moved/x" >/dev/null
hold
mv "$A/moved/x" "$A/moved/y"
applied
echo mine >"$B/moved/x"
release
equal "$(cat "$B/moved/x") $(cat "$B/moved/y")" "mine original" "the content of x and y"
hold
rm "$A/moved/y"
applied
! cat "$B/moved/y" >/dev/null 2>&1 || fail "a removed file was opened"
release

say "the barrier waits for the mirror, and so for all events"
hold
mkdir "$A/moved/barrier"
applied
! timeout 1 "$BUILD/coordfs" sync "$B" 2>/dev/null || fail "the barrier did not wait for the event"
release

# The change is committed if its leader keeps leading.
say "an interrupted change that is committed later raises its event; every event comes once"
mkdir "$A/lost"
sync_b
watch_begin "$B/lost"
others=()
for i in 1 2 3; do
	[ "$i" = "$B_NUMBER" ] || others+=("$i")
done
mkdir "$B/lost/before"
for i in "${others[@]}"; do member_pause "$i"; done
! timeout -s INT 0.2 mkdir "$B/lost/interrupted" 2>/dev/null || fail "mkdir succeeded without a quorum"
for i in "${others[@]}"; do member_resume "$i"; done
wait_leader >/dev/null
mkdir "$B/lost/after"
sync_b
want='CREATE,ISDIR before;'
[ ! -d "$B/lost/interrupted" ] || want+='CREATE,ISDIR interrupted;'
result "an interrupted mkdir: $([ -d "$B/lost/interrupted" ] && echo committed || echo not committed)"
watch_end "$A/lost" "${want}CREATE,ISDIR after;"

say "a program that is running, a lease, a fifo"
cp /bin/sleep "$A/early/program"
mkfifo "$A/early/fifo"
echo x >"$A/early/leased"
sync_b
background "$B/early/program" 600
PROGRAM=$CHILD
background cat "$B/early/fifo"
READER=$CHILD
background python3 -c "
import fcntl, os, signal, sys, time
signal.signal(signal.SIGIO, lambda *_: (open('$T/lease-broken', 'w').close(), sys.exit(0)))
fd = os.open('$B/early/leased', os.O_RDONLY)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
open('$T/leased', 'w').close()
time.sleep(600)"
until_true 60 test -e "$T/leased"
watch_begin "$B/early"
printf y >>"$A/early/program"
chmod 600 "$A/early/fifo"
echo y >>"$A/early/leased"
until_true 60 test -e "$T/lease-broken"
watch_end "$A/early" 'MODIFY program;ATTRIB fifo;MODIFY leased;'
kill "$PROGRAM" "$READER"
wait "$PROGRAM" "$READER" 2>/dev/null || true

say "kill -9 of the mirror, repeatedly, while events flow"
mkdir "$A/flow"
sync_b
background bash -c "i=0; while :; do i=\$((i + 1)); echo \$i >'$A/flow/f'\$((i % 10)); rm '$A/flow/f'\$(((i + 5) % 10)) 2>/dev/null; done"
FLOW=$CHILD
background inotifywait -q -m "$B/flow" >/dev/null
before=$(mirror restarts)
for i in 1 2 3; do
	pid=$(mirror pid)
	kill -TERM "$pid" # which it ignores
	kill -KILL "$pid"
	until_true 60 bash -c "p=\$('$BUILD/coordfs' status --json '${STATE[$B_NUMBER]}' | jq .mirror.pid); [ \$p != 0 ] && [ \$p != $pid ]"
done
: "$i"
at_most 3 $(($(mirror restarts) - before)) "restarts"
until_true 60 mirror_on
kill -STOP "$FLOW"
sync_b
"$BUILD/coordfs" sync "$A"
same_trees "$A/flow" "$B/flow" '%i %s %n'
kill -CONT "$FLOW"

say "umount while events flow"
pid=$(member_pid "$B_NUMBER") child=$(mirror pid)
sleep 0.2
umount "$B"
until_true 60 gone "$pid"
until_true 60 gone "$child"
member_start "$B_NUMBER"
until_true 60 mirror_on

say "kill -9 of the daemon while events flow"
ls -l "$B/flow" >/dev/null 2>&1 || true # some files are removed meanwhile
background inotifywait -q -m "$B/flow" >/dev/null
sleep 0.3
child=$(mirror pid)
member_kill "$B_NUMBER"
until_true 60 gone "$child"
member_start "$B_NUMBER"
until_true 60 mirror_on

say "kill -9 of the daemon while the mirror sleeps in the mount"
ls -l "$B/flow" >/dev/null 2>&1 || true
child=$(mirror pid)
member_pause "$B_NUMBER"
sleep 0.3
kill -KILL "$(member_pid "$B_NUMBER")"
until_true 60 gone "$(member_pid "$B_NUMBER")"
member_unmount "$B_NUMBER"
until_true 60 gone "$child"
member_start "$B_NUMBER"
until_true 60 mirror_on
kill "$FLOW"

say "a mount on a directory stays"
mkdir -p "$A/over/dir" "$A/over/other"
sync_b
mount -t tmpfs tmpfs "$B/over/dir"
watch_begin "$B/over"
echo x >"$A/over/dir/below"
mv "$A/over/other" "$A/over/renamed"
"$BUILD/coordfs" sync "$B"
mounted "$B/over/dir" || fail "the tmpfs is gone"
watch_end "$A/over" 'MOVED_FROM,ISDIR other;MOVED_TO,ISDIR renamed;'
rm "$A/over/dir/below"
rmdir "$A/over/dir"
sync_b
mounted "$B/over/dir" || fail "the tmpfs is gone with its directory"
umount "$B/over/dir"
echo x >"$A/over/last"
is_gone() { [ ! -e "$1" ]; }
until_true 60 is_gone "$B/over/dir"

say "the mount itself is mounted over"
watch_begin "$B/over"
mount -t tmpfs tmpfs "$B"
echo x >"$A/over/under"
until_true 60 grep -q 'CLOSE_WRITE,CLOSE under' "$T/events"
kill -KILL "$(mirror pid)"
restart_fails() { echo x >"$A/over/again" && [[ $(mirror why) == *'mounted over'* ]]; } 2>/dev/null
until_true 60 restart_fails
umount "$B"
restart_works() { echo x >"$A/over/again" && mirror_on; }
until_true 60 restart_works
kill "$WATCHER"

say "working directories that another host makes, renames and removes"
mkdir "$A/cwd"
sync_b
(
	cd "$B/cwd"
	mv "$A/cwd" "$A/cwd2"
	sync_b
	equal "$(/bin/pwd)" "$B/cwd2" "working directory"
	touch here
	rm here
	rmdir "$A/cwd2"
	sync_b
	! touch there 2>/dev/null || fail "a file was made in a removed directory"
)

say "a lock that is granted while the mirror is stopped: it waits, but not forever, and then nothing is stale"
member_stop "$B_NUMBER"
member_start "$B_NUMBER" -o timeout=5
until_true 60 mirror_on
mkdir "$A/p4"
echo old >"$A/p4/f"
echo old >"$A/p4/gone"
: >"$A/p4/lock"
sync_b
cat "$B/p4/f" "$B/p4/gone" >/dev/null
[ ! -e "$B/p4/made" ] || fail "a file 'made' exists"
watch_begin "$B/p4"
exec 8<"$A/p4/lock"
flock 8
# The state that the next holder, on B, sees immediately.
background bash -c "exec 9<'$B/p4/lock'; flock 9
	echo \$(stat -c %i '$B/p4/f') \$(cat '$B/p4/f') \$(test -e '$B/p4/gone' && echo gone) \$(test -e '$B/p4/made' && echo made) >'$T/p4'"
WAITER=$CHILD
waits() { jq -e "any(.[]; .path == \"/p4/lock\" and .waiting)" "$A/.coordfs/locks" >/dev/null; }
until_true 60 waits
pid=$(mirror pid) restarts=$(mirror restarts) missed=$(mirror missed)
hold
echo new >"$A/p4/tmp"
mv "$A/p4/tmp" "$A/p4/f"
rm "$A/p4/gone"
mkdir "$A/p4/made"
begin=$(now_ms)
flock -u 8 # the waiter has the handle as well
until_true 60 gone "$WAITER"
exec 8<&-
equal "$(cat "$T/p4")" "$(stat -c %i "$A/p4/f") new made" "the state that the next holder saw"
[ "$(mirror pid)" != "$pid" ] && [ "$(mirror restarts)" -gt "$restarts" ] || fail "the stopped process still runs"
equal "$(mirror missed)" "$missed" "missed changes"
result "a lock granted $(($(now_ms) - begin)) ms after it was free: the mirror was stopped, with 7 s for an answer"
watch_end "$A/p4" 'CREATE tmp;MODIFY tmp;CLOSE_WRITE,CLOSE tmp;MOVED_FROM tmp;MOVED_TO f;DELETE gone;CREATE,ISDIR made;'

say "without the mirror, the mount works"
member_stop "$B_NUMBER"
member_start "$B_NUMBER" -o mirror=off
equal "$(mirror on) $(mirror pid) $(mirror why)" "false 0 mirror=off" "mirror"
matches "$("$BUILD/coordfs" status "$B")" 'mirror +off: mirror=off' "coordfs status"
ls -l "$B/over" >/dev/null
mv "$A/over/under" "$A/over/elsewhere"
sync_b
[ -e "$B/over/elsewhere" ] && [ ! -e "$B/over/under" ] || fail "stale names"
same_mounts
