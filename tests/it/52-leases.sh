#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 240
# Leases: a host that stands still or has no quorum loses its lease. It loses its session only if
# another host could expire the session.
. "$(dirname "$0")/lib.sh"

need_fuse
need_tool flock
DAEMON_OPTS+=(--session-ttl 3)

all_have_leases() {
	local i
	for i in $(running); do
		[ "$(st "$i" '.session > 0 and .lease_ms > 0')" = true ] || return 1
	done
}

session_of() { st "$1" .session; }
ephemeral() { # FILE: the end of the session of the host removes it
	"$BUILD/coordfs" create --ephemeral "$1" >/dev/null
}
everywhere() { # NAME
	local i
	for i in $(running); do
		[ -e "${MNT[i]}/$1" ] || return 1
	done
}

start_cluster 3
until_true 60 all_have_leases

say "a leader stands still for 6 s: only its own session may end"
leader=$(wait_leader)
mapfile -t others < <(running | grep -v "^$leader$")
for i in "${others[@]}"; do
	ephemeral "${MNT[$i]}/beside-$i"
	before[i]=$(session_of "$i")
done
wait_equal
member_pause "$leader"
sleep 6
member_resume "$leader"
wait_equal
for i in "${others[@]}"; do
	equal "$(session_of "$i")" "${before[i]}" "session of $i"
	everywhere "beside-$i" || fail "beside-$i is gone"
done
until_true 60 all_have_leases

say "all stand still: no member could expire a session, and nothing is lost"
for i in 1 2 3; do
	ephemeral "${MNT[$i]}/still-$i"
	before[i]=$(session_of $i)
done
wait_equal
for i in 1 2 3; do member_pause $i; done
sleep 4
for i in 1 2 3; do member_resume $i; done
wait_leader >/dev/null
until_true 60 all_have_leases
for i in 1 2 3; do
	equal "$(session_of $i)" "${before[i]}" "session of $i"
	everywhere "still-$i" || fail "still-$i is gone"
done

say "no quorum: the lease expires, the session continues"
leader=$(wait_leader)
for i in 1 2 3; do
	[ $i = "$leader" ] || member_pause $i
done
no_lease() { [ "$(st "$leader" '.lease_ms == 0 and (.no_quorum_since | test("^20..-..-..T..:..:..Z$"))')" = true ]; }
until_true 60 no_lease
equal "$(session_of "$leader")" "${before[leader]}" "the session"
for i in 1 2 3; do
	[ $i = "$leader" ] || member_resume $i
done
until_true 60 all_have_leases
equal "$(st "$leader" .no_quorum_since)" null "no_quorum_since"

say "a session with a lock ends: the lock is lost, and free, while its descriptor is still open"
leader=$(wait_leader)
other=$(a_follower)
exec 8>"${MNT[$leader]}/locked"
flock -n -x 8 || fail "another process holds the lock"
echo "with the lock" >&8
wait_equal
! flock -n -x "${MNT[$other]}/locked" true || fail "two processes hold the lock"
old=$(session_of "$leader")
for i in 1 2 3; do
	[ $i = "$leader" ] || member_pause $i
done
until_true 60 no_lease
! echo "without it" 2>/dev/null >&8 || fail "a write succeeded although the lease has expired"
for i in 1 2 3; do
	[ $i = "$leader" ] || member_resume $i
done
until_true 60 flock -n -x "${MNT[$other]}/locked" true
new_session() { [ "$(st "$leader" ".session != 0 and .session != $old and .lease_ms > 0")" = true ]; }
until_true 60 new_session
grep -q "session $old lives, but is given up" "$T/log-$leader" || fail "the session was not given up"
! echo "again" 2>/dev/null >&8 || fail "a write through a handle with a lost lock succeeded"
exec 8>&- || true # EIO, again
equal "$(cat "${MNT[$other]}/locked")" "with the lock" "content"
flock -n -x "${MNT[$leader]}/locked" true || fail "no lock in the new session"
