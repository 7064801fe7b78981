#!/bin/bash
# limit: 240
# Leases: whoever stands still or is without a quorum loses his, and his session only where somebody
# else could expire it. An idle cluster writes nothing.
. "$(dirname "$0")/lib.sh"

need_fuse
need_tool strace
DAEMON_OPTS=(--election-timeout 1000 --session-ttl 3)

all_have_leases() {
	local i
	for i in $(running); do
		[ "$(st "$i" '.session > 0 and .lease_ms > 0')" = true ] || return 1
	done
}

session_of() { st "$1" .session; }
ephemeral() { # FILE: goes with the session of the host that makes it
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

say "all stand still: nobody could expire anybody, and nothing is lost"
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

say "no quorum: the lease runs out, the session outlives it"
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

say "an idle cluster writes nothing"
wait_equal
applied=$(st 1 .applied)
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
