#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The effects, exit statuses and messages of the coordination commands: entries, versions,
# transactions, locks, elections, on three hosts.
# limit: 180
. "$(dirname "$0")/lib.sh"

need_fuse
need_tool setpriv
DAEMON_OPTS+=(--session-ttl 4)
start_cluster 3
C=$BUILD/coordfs
A=${MNT[1]} B=${MNT[2]}
cd "$A"
txn() { "$C" txn "$@" <<<"$STEPS"; }

say "create"
exits 0 "$C" create plain
equal "$OUT" plain "the name"
exits 1 "$C" create plain
one_line 'plain: File exists'
for i in 0 1; do
	exits 0 "$C" create --sequential "$A/job-"
	equal "$OUT" "$A/job-000000000$i" "the name"
done
"$C" sync "$B"
exits 0 "$C" create -s -d -m 700 "$B/job-"
equal "$(stat -c %a:%F "$OUT")" 700:directory "the new directory"
matches "$OUT" 'job-0000000002$' "the name, on another host"
exits 0 "$C" create --ephemeral lives
equal "$(getfattr --only-values -n user.coordfs.ephemeral lives)" session "ephemeral"
exits 0 "$C" create --ephemeral=open open
equal "$(getfattr --only-values -n user.coordfs.ephemeral open)" open "ephemeral"
exits 2 "$C" create --ephemeral=never x
one_line never
exits 2 "$C" create -m 999 x
one_line "'999'"
exits 2 "$C" create
one_line 'usage: coordfs create'
exits 1 "$C" create none/x
one_line 'none: No such file'
exits 1 "$C" create "$T/x"
one_line 'not in a mounted coordfs'
exits 1 "$C" create "$(printf 'n%.0s' {1..256})"
one_line 'too long'

say "put, get, rm: by version"
exits 0 "$C" put f <<<one
equal "$(cat f)" one "content"
exits 0 "$C" get --version f
equal "$OUT" 1 "version"
exits 0 "$C" put --if-version 1 f <<<two
exits 3 "$C" put --if-version 1 f <<<three
one_line 'f: the version is 2, not 1'
exits 0 "$C" get --if-version 2 f
equal "$OUT" two "content"
exits 3 "$C" get --if-version 1 f
one_line 'f: the version is 2, not 1'
exits 3 "$C" put --if-absent f <<<four
one_line 'f: File exists'
exits 3 "$C" rm --if-version 1 f
one_line 'f: the version is 2, not 1'
exits 3 "$C" put --if-version 1 none <<<five
one_line 'none: No such file'
equal "$(cat f)" two "content after what was refused"
exits 0 "$C" rm --if-version 2 f
[ ! -e f ] || fail "f still exists"
exits 1 "$C" rm f
one_line 'f: No such file'
exits 0 "$C" put --if-absent f <<<six
for bad in -1 x 1x 18446744073709551616; do
	exits 2 "$C" put "--if-version=$bad" f </dev/null
	one_line "'$bad'"
done
exits 1 "$C" put lives/x </dev/null
one_line 'lives: Not a directory'
head -c 1048576 /dev/urandom >"$T/data"
exits 0 "$C" put data <"$T/data"
cmp data "$T/data"
cat "$T/data" "$T/data" >"$T/more"
exits 1 "$C" put data <"$T/more"
one_line 'more than 1 MiB'

say "put --if-version: no update is lost"
echo 0 >number
increment() { # MOUNT
	local i v x
	for ((i = 0; i < 10; i++)); do
		until v=$("$C" get --version "$1/number") && x=$("$C" get "$1/number") &&
			echo $((x + 1)) | "$C" put --if-version "$v" "$1/number" 2>/dev/null; do
			:
		done
	done
}
"$C" sync "$B"
"$C" sync "${MNT[3]}"
for i in 1 2 3; do
	increment "${MNT[i]}" &
	pids[i]=$!
done
wait "${pids[@]}"
"$C" sync .
equal "$(cat number)" 30 "the number"

say "txn"
"$C" sync "$B"
STEPS='check f version 1
put f "seven" # which
put new <<END
line 1
END
mkdir dir 750
create dir/n- sequential
ln f dir/link
symlink ../f dir/symlink
mv new dir/new noreplace
setattr dir/new mode 600
setxattr dir user.colour "blue or green"
check dir exists'
exits 0 txn -C "$B"
equal "$(sed -n 5p <<<"$OUT")" '5 create dir/n-0000000000 version 0' "a line of the answer"
equal "$(wc -l <<<"$OUT")" 11 "lines"
equal "$(cat "$B/dir/link" "$B/dir/new")" "$(printf 'sevenline 1')" "the result of the transaction"
"$C" sync "$A"
equal "$(stat -c %a "$A/dir" "$A/dir/new" | xargs)" '750 600' "modes"
equal "$(getfattr --only-values -n user.colour dir)" 'blue or green' "an xattr"
STEPS="put $A/abs x
rm dir/none"
exits 1 txn
one_line 'line 2: rm dir/none: No such file'
[ ! -e abs ] || fail "a part of a transaction was applied"
STEPS="put abs x
check f version 7"
exits 3 txn
one_line 'line 2: check f: the version is 2, not 7'
STEPS="check f hash $("$C" stat --json --hash f | jq -r .hash)
check f locked"
exits 3 txn
one_line 'line 2: check f: this host does not hold its lock'
exits 0 "$C" lock f -- "$C" txn <<<"check f locked"
for bad in 'frob f' 'check f version x' 'rm /etc/none' 'put f "x' 'mkdir f 99' 'put f x ephemeral=never'; do
	STEPS=$bad
	exits 2 txn
	one_line 'line 1: '
done
exits 2 "$C" txn < <(for i in {1..129}; do echo "check f exists"; done)
one_line 'line 129: .*128'
exits 2 "$C" txn </dev/null
one_line 'no step'
STEPS='rm f'
exits 1 txn -C "$T"
one_line 'not in a mounted coordfs'

say "invalid attributes are refused, and the message names them"
for bad in 'ephemeral session dir' 'ephemeral never f' 'ttl 0 f' 'ttl 1h f' 'ttl -1 f' 'guard none dir' \
	'guard dir dir' 'container 2 dir' 'container 1 f' 'nonsense 1 f'; do
	read -r name value path <<<"$bad"
	says "$path: Invalid argument" setfattr -n "user.coordfs.$name" -v "$value" "$path"
	STEPS="setxattr $path user.coordfs.$name $value"
	exits 1 txn
	one_line "line 1: setxattr $path: Invalid argument"
done
says 'Operation not permitted' setfattr -n user.coordfs.version -v 1 f

say "other users have their own permissions"
chmod 755 .
exits 1 as_user 1000 "$C" create theirs
one_line 'theirs: Permission denied'
mkdir -m 1777 public
exits 0 as_user 1000 "$C" create public/theirs
equal "$(stat -c %u:%g public/theirs)" 1000:1000 "owner"
exits 1 as_user 1001 "$C" rm public/theirs
one_line 'Operation not permitted'
exits 1 as_user 1001 "$C" put public/theirs </dev/null
one_line 'Permission denied'
exits 1 as_user 1001 "$C" get data/none
exits 1 env GCOV_PREFIX="$T/counts" setpriv --bounding-set -dac_override --inh-caps -dac_override "$C" create public/x
one_line 'Operation not permitted'

say "a mount that is read-only"
mount -i -o remount,ro "$A"
exits 1 "$C" create never
one_line 'Read-only file system'
exits 1 "$C" put f <<<never
one_line 'Read-only file system'
mount -i -o remount,rw "$A"

say "stat"
exits 0 "$C" stat --json f dir
equal "$(jq -r '"\(.path) \(.type) \(.version)"' <<<"$OUT" | xargs)" 'f file 2 dir directory 0' "stat"
exits 0 "$C" stat lives
matches "$OUT" '^owner +1$' "stat of an ephemeral entry"
exits 1 "$C" stat f none
one_line 'none: No such file'
matches "$OUT" '^version +2$' "stat of the other"

say "lock: exit statuses"
exits 7 "$C" lock L -- sh -c 'echo "$COORDFS_LOCK $COORDFS_FENCE"; exit 7'
matches "$OUT" '^L [0-9]+$' "the environment"
exits 137 "$C" lock L -- sh -c 'kill -9 $$'
exits 127 "$C" lock L -- none-such
one_line 'none-such: No such file'
exits 126 "$C" lock L -- /etc/passwd
exits 1 "$C" lock "$T/L" -- true
one_line 'not in a mounted coordfs'
exits 1 "$C" lock dir -- true
one_line 'dir: cannot be locked'
exits 2 "$C" lock L
one_line 'usage: coordfs lock'
exits 2 "$C" lock -w soon L -- true
one_line "'soon'"
exits 0 "$C" lock L -- "$C" lock -n M -- true

say "lock: excludes other hosts"
background "$C" lock L -- sh -c "touch '$T/held'; exec sleep 60"
holder=$CHILD
until_true 30 test -e "$T/held"
exits 1 "$C" lock -n "$B/L" -- true
equal "$ERR" '' "stderr"
exits 9 "$C" lock -w 0.2 -E 9 "$B/L" -- true
exits 1 "$C" lock -n -s "$B/L" -- true
exits 0 "$C" locks --json "$B"
equal "$(jq -r '[.[] | select(.path == "/L")] | length' <<<"$OUT")" 1 "locks of L"
exits 0 "$C" locks "$B"
matches "$OUT" '^MEMBER .*PATH' "locks"
exits 0 "$C" sessions --json
equal "$(jq length <<<"$OUT")" 3 "sessions"
kill -TERM "$holder"
rc=0
wait "$holder" || rc=$?
equal "$rc" 143 "a signal is passed on"
exits 0 "$C" lock -n "$B/L" -- true
exits 0 "$C" lock -s L -- "$C" lock -n -s "$B/L" -- true

say "lock: one at a time, and fencing tokens grow"
echo 0 >count
count() { # MOUNT
	local i
	for ((i = 0; i < 12; i++)); do
		"$C" lock "$1/L" -- sh -c 'echo $(($(cat "$1/count") + 1)) >"$1/count"; echo "$COORDFS_FENCE" >>"$2"' \
			- "$1" "$T/fences"
	done
}
for i in 1 2 3; do
	count "${MNT[i]}" &
	pids[i]=$!
done
wait "${pids[@]}"
"$C" sync .
equal "$(cat count)" 36 "the count"
sort -n -u "$T/fences" | cmp - "$T/fences" || fail "the tokens do not grow: $(xargs <"$T/fences")"

say "elect: the file names the leader; another one follows"
background "$C" elect --id one leader -- sh -c "touch '$T/one'; exec sleep 60"
one=$CHILD
until_true 30 test -e "$T/one"
equal "$(cat leader)" one "the leader"
background "$C" elect --id two "$B/leader" -- sh -c "cp '$B/leader' '$T/two'; exit 5"
two=$CHILD
sleep 0.5
[ ! -e "$T/two" ] || fail "two leaders"
kill -TERM "$one"
rc=0
wait "$two" || rc=$?
equal "$rc" 5 "exit status"
equal "$(cat "$T/two")" two "the next leader"
"$C" sync .
equal "$(cat leader)" '' "the leader when there is none"

say "hold"
exits 0 "$C" hold -c here H -- cat H
equal "$OUT" here "the content of the entry"
[ ! -e H ] || fail "H still exists"
touch H
exits 3 "$C" hold H -- true
one_line 'H: File exists'
exits 4 "$C" hold "$B/held" -- sh -c 'exit 4'
rm H
background "$C" hold H -- sleep 60
holder=$CHILD
until_true 30 test -e H
rm H
rc=0
wait "$holder" 2>/dev/null || rc=$?
equal "$rc" 75 "exit status when the entry is gone"

say "a daemon that does not answer: its commands are stopped before others get the lock"
cd /
# Without the descriptor, because a process that closes it waits for the daemon.
background "$C" lock -o "${MNT[3]}/L" -- \
	sh -c "trap 'touch \"$T/told\"; exit' TERM; touch '$T/frozen'; while :; do sleep 0.1; done"
holder=$CHILD
until_true 30 test -e "$T/frozen"
member_pause 3
until_true 60 test -e "$T/told"
member_resume 3
rc=0
wait "$holder" 2>/dev/null || rc=$?
equal "$rc" 75 "exit status after the daemon did not answer"
until_true 30 "$C" sync "${MNT[3]}"

say "a host that dies: its commands are stopped, its lock and its entry are gone"
cd /
background "$C" lock "${MNT[3]}/L" -- sh -c "touch '$T/dying'; trap 'touch \"$T/stopped\"; exit' TERM; while :; do sleep 0.1; done"
holder=$CHILD
background "$C" hold "${MNT[3]}/H" -- sleep 60
held=$CHILD
until_true 30 test -e "$T/dying"
until_true 30 test -e "$A/H"
background "$C" lock "$A/L" -- touch "$T/taken-over"
member_kill 3
for pid in "$holder" "$held"; do
	rc=0
	wait "$pid" 2>/dev/null || rc=$?
	equal "$rc" 75 "exit status when the host's daemon died"
done
[ -e "$T/stopped" ] || fail "the command got no signal"
until_true 60 test -e "$T/taken-over"
gone_there() { [ ! -e "$A/H" ]; }
until_true 60 gone_there
member_start 3
