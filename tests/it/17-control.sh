#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The control directory .coordfs: every file on three mounts; it is hidden, and no user can change
# it; which users may read which files; poll(2) and inotify; its content when hosts die.
. "$(dirname "$0")/lib.sh"

need_fuse
need_tool python3 getfattr setpriv inotifywait
start_cluster 3

say "a listing does not show it, but it exists"
for i in 1 2 3; do
	equal "$(ls -A "${MNT[$i]}")" "" "a listing of the root"
	equal "$(find "${MNT[$i]}" | wc -l)" 1 "the entries that find lists"
	equal "$(ls "${MNT[$i]}/.coordfs" | tr '\n' ' ')" \
		"events health index leader locks log members metrics self sessions status version " "its files"
	equal "$(stat -c '%F %a %u' "${MNT[$i]}/.coordfs")" "directory 555 0" "the directory"
	cd "${MNT[$i]}/.coordfs/.." && equal "$PWD" "${MNT[$i]}" ".." && cd /
done
[ ! -e "${MNT[1]}/.coordfs/nothing" ] || fail "a file 'nothing' exists"

say "each file, on each mount"
leader=$(wait_leader)
for i in 1 2 3; do
	C=${MNT[$i]}/.coordfs
	equal "$(cat "$C/self")" "$i" "self of $i"
	equal "$(cat "$C/leader")" "$leader" "leader as $i sees it"
	equal "$(cat "$C/version")" "$("$BUILD/coordfsd" --version | cut -d ' ' -f 2)" "version"
	equal "$(jq -r .id "$C/status")" "$i" "id in status"
	equal "$(jq -r 'map(.id) | sort | join(" ")' "$C/members")" "1 2 3" "members"
	equal "$(jq -r 'map(.member) | sort | join(" ")' "$C/sessions")" "1 2 3" "sessions"
	equal "$(jq -r type "$C/locks")" array "locks"
	until_true 30 grep -qx ok "$C/health"
	metrics=$(cat "$C/metrics")
	matches "$metrics" "^coordfs_leader $leader\$" "the leader in the metrics"
	equal "$(grep -c '^coordfs_member_linked.* 1$' <<<"$metrics")" 3 "links in the metrics"
	equal "$(grep -Evc '^(# (HELP|TYPE) coordfs_[a-z_]+ .+|coordfs_[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? -?[0-9]+)$' \
		<<<"$metrics" || true)" 0 "lines that are no metrics"
done

say "index: it includes every change that has returned; the socket answers the same names"
echo x >"${MNT[1]}/file"
"$BUILD/coordfs" sync "${MNT[2]}"
before=$(cat "${MNT[2]}/.coordfs/index")
for round in 1 2 3 4 5; do
	echo $round >"${MNT[2]}/file"
	now=$(cat "${MNT[2]}/.coordfs/index")
	[ "$now" -gt "$before" ] || fail "the index went from $before to $now although a write came in between"
	before=$now
done
exec 7<>"${MNT[1]}/lock"
flock 7
"$BUILD/coordfs" sync "${MNT[3]}"
equal "$(jq -r '.[] | [.path, .kind, .mode, .waiting, .member] | map(tostring) | join(" ")' "${MNT[3]}/.coordfs/locks")" \
	"/lock flock write false 1" "the lock, seen by another host"
exec 7>&-
rm "${MNT[1]}/lock"
python3 - "${STATE[1]}/control.sock" <<'PY'
import json, socket, sys
for name in "status members leader self health locks sessions metrics index version".split():
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.sendall(json.dumps({"cmd": name}).encode() + b"\n")
    answer = json.loads(s.makefile().read())
    assert "error" not in answer and (name == "status" or name in answer), (name, answer)
PY

say "an open file shows one state, and a new one when it is read again from the beginning"
python3 - "${MNT[1]}" <<'PY'
import os, sys
mnt = sys.argv[1]
fd = os.open(mnt + "/.coordfs/index", os.O_RDONLY)
first = os.pread(fd, 100, 0)
open(mnt + "/file", "w").write("more")
assert os.pread(fd, 100, 1) == first[1:], "a later piece must be of the same state"
again = os.pread(fd, 100, 0)
assert int(again) > int(first), (first, again)
status = os.open(mnt + "/.coordfs/status", os.O_RDONLY)
pieces = b""
while True:
    piece = os.read(status, 7)
    if not piece:
        break
    pieces += piece
import json
json.loads(pieces)
PY
cp "${MNT[1]}/.coordfs/status" "$T/status"
jq -e '.ok' "$T/status" >/dev/null || fail "a copy of status: $(cat "$T/status")"
tar -C "${MNT[1]}" -cf "$T/all.tar" .
equal "$(tar -tf "$T/all.tar" | sort | tr '\n' ' ')" "./ ./file " "the entries that tar stores"

say "no file can be made, changed, renamed or removed"
M=${MNT[2]}
C=$M/.coordfs
mkdir "$M/dir"
says 'not permitted' touch "$C/new"
says 'not permitted' mkdir "$C/new"
says 'not permitted' ln -s x "$C/new"
says 'not permitted' ln "$M/file" "$C/new"
says 'not permitted' mv "$M/file" "$C/new"
says 'not permitted' rm "$C/status"
says 'not permitted' mv "$C/status" "$M/status"
says 'not permitted' ln "$C/status" "$M/status"
says 'not permitted' rmdir "$C"
says 'not permitted' mv "$C" "$M/renamed"
says 'File exists' mkdir "$C"
says 'not permitted' mv -T "$M/dir" "$C"
says 'not permitted' "$TOOLS/fsop" rename-exchange "$M/dir" "$C"
says 'not permitted' "$TOOLS/fsop" rename-exchange "$C" "$M/dir"
says 'Permission denied' tee "$C/status" </dev/null
says 'not permitted' chmod 666 "$C/status"
says 'Permission denied' truncate -s 0 "$C/log"
says 'not permitted' chown 1 "$C/status"
says 'not permitted' setfattr -n user.x -v y "$C/status"
equal "$(getfattr --absolute-names -d -m - "$C/status" 2>&1)" "" "its xattrs"
[ -d "$M/dir" ] && [ -s "$M/file" ] || fail "a file or a directory is gone"

say "in other directories the name is free"
mkdir "$M/dir/.coordfs"
echo y >"$M/dir/.coordfs/status"
equal "$(cat "$M/dir/.coordfs/status")" y "an ordinary file of that name"
rm -r "$M/dir/.coordfs"
says 'not permitted' "$BUILD/coordfs" create "$M/.coordfs"

say "other users: no paths for them"
for file in events log locks; do
	says 'Permission denied' as_user 65534 cat "$C/$file"
done
for file in status members leader self health sessions metrics index version; do
	as_user 65534 cat "$C/$file" >/dev/null
done
chmod 777 "$M"
says 'not permitted' as_user 65534 \
	setfattr -n user.coordfs.history -v 5 "$M"
chmod 755 "$M"

say "the length of the history is a setting of the whole cluster"
equal "$(getfattr --absolute-names --only-values -n user.coordfs.history "${MNT[3]}")" 100000 "the default"
setfattr -n user.coordfs.history -v 5000 "${MNT[1]}"
"$BUILD/coordfs" sync "${MNT[3]}"
equal "$(getfattr --absolute-names --only-values -n user.coordfs.history "${MNT[3]}")" 5000 "after it was set"
says 'Invalid argument' setfattr -n user.coordfs.history -v 0 "${MNT[1]}"
setfattr -x user.coordfs.history "${MNT[2]}"
"$BUILD/coordfs" sync "${MNT[3]}"
equal "$(getfattr --absolute-names --only-values -n user.coordfs.history "${MNT[3]}")" 100000 "after it was removed"

observer=$(a_follower)
O=${MNT[$observer]}/.coordfs

say "inotify reports the same changes, and nothing else"
background inotifywait -q -m --format '%f %e' "$O" >"$T/in-directory"
background inotifywait -m -e open,modify,attrib,close_write,create,delete --format '%w %e' \
	"$O/leader" "$O/members" "$O/health" >"$T/on-files" 2>"$T/on-files-log"
until_true 60 grep -q established "$T/on-files-log"
# The times of their last changes. (Reading them raises no event.)
times() { stat -c %y "$O/leader" "$O/members" "$O/health"; }
# Nothing changes that would raise an event, unless the machine is so slow that the leader is lost,
# which the times show.
no_event() {
	local before
	before=$(times)
	: >"$T/on-files"
	echo more >"${MNT[1]}/file"
	"$BUILD/coordfs" sync "${MNT[$observer]}"
	sleep 0.5
	[ ! -s "$T/on-files" ] || [ "$(times)" != "$before" ] || fail "events without a change: $(cat "$T/on-files")"
	[ "$(times)" = "$before" ]
}
until_true 60 no_event
# file_events FILE: the events of this file. (The programs below open it once.)
file_events() { sed -n "s|^$O/$1 ||p" "$T/on-files" | tr '\n' ';'; }
changed() { grep -qx "$O/$1 CLOSE_WRITE,CLOSE" "$T/on-files"; }

say "poll(2) reports a new leader and trouble"
cat >"$T/poll.py" <<'PY'
# Waits until the content of the file changes; prints the first and the new content.
import os, select, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
first = os.pread(fd, 4096, 0).decode().strip()
open(sys.argv[2], "w").write("ready")
p = select.poll()
p.register(fd, select.POLLPRI)
now = first
while now == first:
    events = p.poll(60000)
    assert events, "nothing within a minute"
    assert events[0][1] & select.POLLPRI, events
    now = os.pread(fd, 4096, 0).decode().strip()
print(first.replace("\n", ";") + "|" + now.replace("\n", ";"))
PY
python3 "$T/poll.py" "$O/leader" "$T/ready-leader" >"$T/leaders" &
polls=($!)
python3 "$T/poll.py" "$O/health" "$T/ready-health" >"$T/healths" &
polls+=($!)
until_true 30 test -s "$T/ready-leader" -a -s "$T/ready-health"
member_kill "$leader"
wait "${polls[0]}"
wait "${polls[1]}"
matches "$(cat "$T/leaders")" "^$leader\\|" "the leaders"
[ "$(cat "$T/leaders")" != "$leader|$leader" ] || fail "no other leader was reported"
matches "$(cat "$T/healths")" "^ok\\|.*(member $leader .*cannot be reached|no leader)" "health"
for file in leader members health; do
	until_true 60 changed $file
	matches "$(file_events $file)" '^(OPEN;)?(OPEN;MODIFY;CLOSE_WRITE,CLOSE;)+(OPEN;)?(MODIFY;)?$' "events of $file"
	until_true 60 grep -qx "$file CLOSE_WRITE,CLOSE" "$T/in-directory"
done
unlinked() { jq -e ".[] | select(.id == $1) | .linked == false" "$O/members" >/dev/null; }
until_true 60 unlinked "$leader"
until_true 60 grep -q "^member $leader .*cannot be reached" "$O/health"

say "without a quorum every file can be read"
other=$(a_follower)
[ "$other" != "$observer" ] || other=$(wait_leader)
: >"$T/on-files"
member_kill "$other"
for file in members health; do
	until_true 60 changed $file
done
until_true 60 unlinked "$other"
leaderless() { [ "$(cat "$O/leader")" = "" ]; }
until_true 60 leaderless
until_true 30 grep -q '^no leader' "$O/health"
for file in status members self locks sessions metrics index version log; do
	timeout 20 cat "$O/$file" >/dev/null || fail "$file cannot be read without a quorum"
done
member_start "$leader"
until_true 60 grep -qx "$(wait_leader)" "$O/leader"
member_start "$other"
until_true 60 grep -qx ok "$O/health"

say "on a host where no process has read it, no event is made"
equal "$(st "$leader" '.mirror | "\(.on) \(.done)"')" "true 0" "a mount whose kernel does not know the control directory"
result "$(st "$observer" .mirror.done) events made known by member $observer"
