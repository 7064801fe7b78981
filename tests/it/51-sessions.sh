#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Sessions: heartbeats keep them alive; a clean stop ends them immediately, and a kill ends them
# after their ttl, with their locks and entries; a change of the leader does not end them. Entries
# with a ttl. An idle cluster writes nothing.
. "$(dirname "$0")/lib.sh"

need_fuse
need_tool strace
TTL=2
DAEMON_OPTS+=(--session-ttl "$TTL")

# The sessions that a daemon knows; FILTER as for jq.
sessions() { # MEMBER FILTER
	timeout 10 "$BUILD/coordfs" sessions --json "${STATE[$1]}" 2>/dev/null | jq -r "$2" || true
}

session_of() { st "$1" .session; }
has_no_session() { # MEMBER, SESSION
	[ "$(sessions "$1" "[.[] | select(.id == $2)] | length")" = 0 ]
}
all_have_sessions() {
	local i
	for i in $(running); do
		[ "$(st "$i" '.session > 0 and .lease_ms > 0')" = true ] || return 1
		[ "$(sessions "$i" length)" = "$(running | wc -l)" ] || return 1
	done
}
ephemeral() { # FILE: the end of the session of the host removes it
	"$BUILD/coordfs" create --ephemeral "$1" >/dev/null
}
nowhere() { # NAME
	local i
	for i in $(running); do
		[ ! -e "${MNT[i]}/$1" ] || return 1
	done
}
everywhere() { # NAME
	local i
	for i in $(running); do
		[ -e "${MNT[i]}/$1" ] || return 1
	done
}

start_cluster 3
until_true 60 all_have_sessions

say "the list of sessions"
for i in 1 2 3; do
	equal "$(st $i '"\(.session_ttl_ms) \(.no_quorum_since) \(.lease_ms <= 1800)"')" "2000 null true" "status of $i"
	equal "$(sessions $i "[.[] | select(.self)] | map(.member) | @csv")" "$i" "its own session"
	equal "$(sessions $i "[.[].ttl_ms] | unique | @csv")" 2000 "the ttl"
done
seen() { [ "$(sessions "$(wait_leader)" '[.[] | select(.seen_ms < 2000)] | length')" = 3 ]; }
until_true 60 seen
equal "$(sessions "$(a_follower)" '[.[] | select(.seen_ms)] | length')" 0 "the sessions with a time on a follower"

say "a clean stop ends the session and removes its entries immediately"
leader=$(wait_leader)
away=$(a_follower)
old=$(session_of "$away")
ephemeral "${MNT[$away]}/clean"
wait_equal
everywhere clean || fail "the ephemeral file does not exist"
member_stop "$away"
until_true 60 has_no_session "$leader" "$old"
! grep -q "session $old has given no sign of life" "$T"/log-* || fail "it has expired, not ended"
until_true 60 nowhere clean
member_start "$away"
until_true 60 all_have_sessions

say "a killed host's session lives for its ttl; then it ends, and its entries are removed"
leader=$(wait_leader)
away=$(a_follower)
old=$(session_of "$away")
ephemeral "${MNT[$away]}/killed"
ephemeral "${MNT[$leader]}/of-the-leader"
wait_equal
killed_at=$(now_ms)
idle=$(sessions "$leader" ".[] | select(.id == $old).seen_ms")
member_kill "$away"
until_true 60 has_no_session "$leader" "$old"
lived=$(($(now_ms) - killed_at))
[ $((lived + idle)) -ge $((TTL * 1000)) ] || fail "expired $lived ms after the kill, seen $idle ms before"
grep -q "session $old has given no sign of life" "$T/log-$leader" || fail "it has not expired, but ended"
result "a killed member's session (ttl $TTL s) was gone $lived ms after the kill"
until_true 60 nowhere killed
everywhere of-the-leader || fail "a live session's file is gone"
member_start "$away"
until_true 60 all_have_sessions

say "a daemon that returns within its ttl supersedes its session"
old=$(session_of "$away")
ephemeral "${MNT[$away]}/superseded"
member_kill "$away"
member_start "$away"
until_true 60 all_have_sessions
[ "$(session_of "$away")" != "$old" ] || fail "the daemon has the old session"
has_no_session "$away" "$old" || fail "the old session still exists"
until_true 60 nowhere superseded

say "a killed leader: the sessions of the others continue"
leader=$(wait_leader)
mapfile -t others < <(running | grep -v "^$leader$")
for i in "${others[@]}"; do
	ephemeral "${MNT[$i]}/alive-$i"
	before[i]=$(session_of "$i")
done
ephemeral "${MNT[$leader]}/dead"
wait_equal
old=$(session_of "$leader")
member_kill "$leader"
wait_leader >/dev/null
until_true 60 has_no_session "${others[0]}" "$old"
until_true 60 nowhere dead
for i in "${others[@]}"; do
	equal "$(session_of "$i")" "${before[i]}" "session of $i"
	everywhere "alive-$i" || fail "alive-$i is gone"
done
member_start "$leader"
until_true 60 all_have_sessions

say "entries with a ttl end by themselves"
"$BUILD/coordfs" txn -C "${MNT[1]}" >/dev/null <<-'END'
	put short "for a second"
	setxattr short user.coordfs.ttl 1
	mkdir short-dir
	setxattr short-dir user.coordfs.ttl 1
	put long "for long"
	setxattr long user.coordfs.ttl 3600
END
until_true 60 nowhere short
until_true 60 nowhere short-dir
everywhere long || fail "an entry ended before its time"

say "an unlinked file that a killed host had open is freed when its session has ended"
away=$(a_follower)
other=$(wait_leader)
exec 7>"${MNT[$away]}/orphan"
head -c 100000 /dev/zero >&7
rm "${MNT[$away]}/orphan"
wait_equal
inodes=$(st "$other" .store.inodes)
member_kill "$away"
exec 7>&- || true
fewer_inodes() { [ "$(st "$other" .store.inodes)" -lt "$inodes" ]; }
until_true 60 fewer_inodes
member_start "$away"
until_true 60 all_have_sessions

say "an idle cluster writes nothing"
setfattr -x user.coordfs.ttl "${MNT[1]}/long" # while a ttl runs, its time is written once a minute
settled() { # nothing is left to do
	applied=$(st 1 .applied)
	sleep 2
	equal_now && [ "$(st 1 .applied)" = "$applied" ]
}
until_true 60 settled
tracers=()
for i in 1 2 3; do
	background timeout 10 strace -f -qq -e trace=fsync,fdatasync,pwrite64,epoll_wait,epoll_pwait \
		-o "$T/trace-$i" -p "$(member_pid $i)"
	tracers+=("$CHILD")
done
wait "${tracers[@]}" || true
for i in 1 2 3; do
	grep -q epoll "$T/trace-$i" || fail "member $i was not traced"
	! grep -E 'sync|pwrite' "$T/trace-$i" || fail "member $i wrote"
done
equal "$(st 1 .applied)" "$applied" "the applied index"
