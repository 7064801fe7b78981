#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Locks across three hosts: flock(1) as scripts use it, counters while leaders are killed, holders
# that are killed, stopped or cut off. LOCKS_KILLS leaders are killed.
. "$(dirname "$0")/lib.sh"

KILLS=${LOCKS_KILLS:-3}
DAEMON_OPTS+=(--session-ttl 3)

need_fuse
need_network_namespace
need_tool flock
network_create 3
start_cluster 3
A=${MNT[1]} B=${MNT[2]} C=${MNT[3]}

say "flock(1): exit codes, waiting, time limits"
touch "$A/lock"
exec 7>>"$A/lock"
flock 7
exits 1 flock -n "$B/lock" true
exits 1 flock -s -n "$C/lock" true
exits 1 flock -w 0.5 "$B/lock" true
exits 9 flock -n -E 9 "$A/lock" true # the same host
background flock "$C/lock" true
waiter=$CHILD
waits() { [ "$("$BUILD/coordfs" locks --json "$A" | jq '[.[] | select(.waiting)] | length')" = "$1" ]; }
until_true 30 waits 1
alive "$waiter" || fail "flock did not wait"
equal "$("$BUILD/coordfs" locks --json "$B" | jq -c '[.[] | [.kind, .member, .path, .waiting]]')" \
	'[["flock",1,"/lock",false],["flock",3,"/lock",true]]' "the list of locks"
flock -u 7
wait "$waiter" || fail "the waiter did not get the lock"
flock -w 20 7
kill_timeout() { timeout -s "$1" 0.3 flock "$B/lock" true; }
exits 124 kill_timeout TERM
exits 137 kill_timeout KILL
until_true 30 waits 0
exec 7>&-
exits 0 flock -w 20 "$B/lock" true
flock -w 20 "$A/lock" -c true

say "a killed holder frees the lock immediately"
background flock "$A/lock" sleep 1000
holder=$CHILD
# shellcheck disable=SC2317 # by until_true
held() { ! flock -n "$B/lock" true; }
until_true 30 held
kill -KILL "$holder" $(pgrep -P "$holder") # both have the file open
from=$(now_ms)
flock -w 30 "$C/lock" true || fail "the lock is still held"
result "the lock of a killed process was free after $(($(now_ms) - from)) ms"

say "the next holder sees all writes, tokens grow"
last=0
# shellcheck disable=SC2094 # it is locked, not written
for n in $(seq 10); do
	for i in 1 2 3; do
		(
			flock 8
			[ "$n$i" = 11 ] || equal "$(wc -l <"${MNT[i]}/log")" $(((n - 1) * 3 + i - 1)) "lines in the log"
			echo "$n $i" >>"${MNT[i]}/log"
			getfattr --absolute-names --only-values -n user.coordfs.fence "${MNT[i]}/lock" >"$T/fence"
		) 8>"${MNT[i]}/lock"
		fence=$(cat "$T/fence")
		[ "$fence" -gt "$last" ] || fail "token $fence after $last"
		last=$fence
	done
done

say "counters under flock on three hosts, while $KILLS leaders are killed"
mkdir "$A/d" # it exists only in a mount
echo 0 >"$A/d/count"
# The counted numbers are recorded while the lock is held.
counter() { # MOUNT JOURNAL
	local v
	trap - ERR EXIT
	set +e
	while [ ! -e "$T/enough" ]; do
		{
			(
				flock 9 || exit 1
				v=$(cat "$1/d/count") && [ -n "$v" ] || exit 1
				echo $((v + 1)) >"$1/d/count" || { echo >>"$2.failed"; exit 1; }
				echo $((v + 1)) >>"$2"
			) 9>"$1/d/lock"
		} 2>/dev/null || sleep 0.1
	done
}
counters=()
for i in 1 2 3; do
	: >"$T/journal-$i"
	: >"$T/journal-$i.failed"
	background counter "${MNT[i]}" "$T/journal-$i"
	counters+=("$CHILD")
done
counted() { cat "$T"/journal-[123] | wc -l; }
more() { [ "$(counted)" -gt $((at + 20)) ]; }
for _ in $(seq "$KILLS"); do
	at=$(counted)
	until_true 60 more
	leader=$(wait_leader)
	member_kill "$leader"
	at=$(counted)
	until_true 60 more
	member_start "$leader"
done
touch "$T/enough"
for pid in "${counters[@]}"; do
	wait "$pid"
done
wait_equal
cat "$T"/journal-[123] | sort -n >"$T/journal"
equal "$(uniq -d "$T/journal")" "" "numbers that were counted twice"
total=$(cat "$A/d/count")
lines=$(counted)
failed=$(cat "$T"/journal-[123].failed | wc -l)
[ "$lines" -le "$total" ] && [ "$total" -le $((lines + failed + KILLS)) ] ||
	fail "the counter is $total, but $lines increments succeeded and $failed failed"
result "$lines increments, $failed failed, $KILLS leaders killed"

# A separate process with builtins only, because a child that inherits a handle of a stopped member
# cannot end. Takes the lock and writes; on request writes again, and tries to lock.
holder() { # MOUNT
	trap - ERR EXIT
	set +e
	{
		flock 7 && echo mine >&7 && echo held
		read -r _ <&8
		echo late >&7 || echo unwritten
		flock -n 7 || echo unlocked
	} 7>>"$1/lock" 8<>"$T/fifo" >"$T/holder" 2>/dev/null
	echo end >>"$T/holder"
}
hold() { # MEMBER
	rm -f "$T/holder" "$T/fifo"
	mkfifo "$T/fifo"
	background holder "${MNT[$1]}"
	until_true 30 grep -q held "$T/holder"
}
# The member continues, and nothing works through the old handle.
assert_lost() { # MEMBER
	until_true 60 grep -q end "$T/holder"
	equal "$(tr '\n' ' ' <"$T/holder")" 'held unwritten unlocked end ' "the steps of the holder"
	wait_equal
	! grep -q late "${MNT[$1]}/lock" || fail "a write succeeded after the lock was lost"
	equal "$(tail -n 1 "${MNT[$1]}/lock")" mine "the line that it wrote before"
	exits 0 flock -w 30 "${MNT[$1]}/lock" true
}

say "a holder whose daemon sleeps loses the lock and gets an error"
follower=$(a_follower)
F=${MNT[follower]}
other=$((follower % 3 + 1))
hold "$follower"
member_pause "$follower"
from=$(now_ms)
exits 0 flock -w 60 "${MNT[other]}/lock" true
result "free after $(($(now_ms) - from)) ms of sleep, with sessions of 3 s"
member_resume "$follower"
echo >"$T/fifo"
assert_lost "$follower"

say "a holder that is cut off loses the lock before another one gets it"
hold "$follower"
network_cut "$follower"
exits 0 flock -w 60 "${MNT[other]}/lock" true
echo >"$T/fifo"
until_true 60 grep -q unwritten "$T/holder"
network_heal "$follower"
assert_lost "$follower"

# A job that says that it runs, and that it gets SIGTERM. Builtins only, as in holder.
cat >"$T/job" <<-'END'
	#!/bin/bash
	trap 'echo TERM >>"$1"; exit 0' TERM
	while :; do
		echo tick >>"$1"
		read -t 0.1 -r _ <>"$2"
	done
END
chmod +x "$T/job"
mkfifo "$T/never"
under_flock() { # NAME FILE [OPTION]: runs the job under flock(1); pids: FLOCK, JOB
	background flock ${3:+"$3"} "$F/$2" "$T/job" "$T/$1" "$T/never"
	FLOCK=$CHILD
	until_true 30 grep -qs tick "$T/$1"
	JOB=$(pgrep -P "$FLOCK")
	CHILDREN+=("$JOB")
}
session() { st "$follower" .session; }
new_session() { case $(session) in '' | 0 | "$before") return 1 ;; esac; }
lose() { # the follower's daemon sleeps until another host has the lock; then it knows the loss
	rm -f "$T/has"
	before=$(session)
	member_pause "$follower"
	background sh -c 'exec 9>>"$1" && flock 9 && echo >"$0" && exec sleep 1000' "$T/has" "${MNT[other]}/lock"
	winner=$CHILD
	until_true 60 [ -e "$T/has" ]
	member_resume "$follower"
	until_true 60 new_session
}
goes_on() { # NAME: the job still runs, without a signal, while another host has the lock
	local n
	n=$(grep -c tick "$T/$1")
	more() { [ "$(grep -c tick "$T/$1")" -gt "$n" ]; }
	until_true 30 more "$1"
	! grep -q TERM "$T/$1" || fail "job $1 got SIGTERM"
	! flock -n "${MNT[other]}/lock" true || fail "the other host does not have the lock"
}
ended_by() { # PID SIGNAL: a child of ours
	local rc=0
	wait "$1" || rc=$?
	equal "$rc" $((128 + $2)) "the end of process $1"
}
release() {
	kill "$winner"
	until_true 30 gone "$winner"
	until_true 30 waits 0
}
remount() { "$DAEMON" --remount --name "$CLUSTER" --mount "$F" -o "$1"; }

say "lostlock=none: a job under flock(1) runs on while another host has the lock"
under_flock none lock
lose
goes_on none
alive "$FLOCK" || fail "flock has ended"
kill -KILL "$JOB"
until_true 30 gone "$FLOCK"
release

say "lostlock=term, by a remount: SIGTERM to flock(1), its job, and all that have the file open"
remount lostlock=term
under_flock closed lock2 -o # this job does not have the file open
closed=("$FLOCK" "$JOB")
under_flock term lock
background sleep 1000 8<"$F/lock"
reader=$CHILD
lose
until_true 30 gone "$JOB"
equal "$(grep -c TERM "$T/term")" 1 "signals that the job got"
ended_by "$FLOCK" 15
ended_by "$reader" 15
ended_by "${closed[0]}" 15
goes_on closed
kill -KILL "${closed[1]}"
release

say "lostlock=kill, by a remount: SIGKILL"
remount lostlock=kill
under_flock kill lock
lose
until_true 30 gone "$JOB"
! grep -q TERM "$T/kill" || fail "the job got SIGTERM"
ended_by "$FLOCK" 9
release

say "lostlock=term: a process that has lost a lock gets a signal"
member_stop "$follower"
member_start "$follower" --lostlock term
background flock "$F/lock" sh -c 'echo >"$0"; exec sleep 1000' "$T/has"
holder=$CHILD
until_true 30 [ -e "$T/has" ] # the process knows it, not only the log
member_pause "$follower"
flock -w 60 "${MNT[other]}/lock" true
member_resume "$follower"
until_true 30 gone "$holder"
until_true 30 waits 0
