#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 120
# A member stands still (SIGSTOP, like a virtual machine that is moved) and then continues as if
# nothing had happened: a leader that was replaced meanwhile, a follower, all members together, with
# writers.
. "$(dirname "$0")/lib.sh"

DAEMON_OPTS=(--election-timeout 500 --timeout 5)

need_fuse
start_cluster 3
background "$TOOLS/writers" run "$T/journal" 600 2 "${MNT[@]}"
count() { cat "$T/journal.count"; }
until_true 30 test -s "$T/journal.count"

say "the leader pauses until another one leads"
old=$(wait_leader)
term=$(st "$old" .term)
member_pause "$old"
replaced() {
	local i
	for i in 1 2 3; do
		[ "$i" = "$old" ] || [ "$(st "$i" ".state == \"leader\" and .term > $term")" != true ] || return 0
	done
	return 1
}
until_true 30 replaced
member_resume "$old"
wait_leader >/dev/null
[ "$(st "$old" .term)" -gt "$term" ] || fail "the old leader has not noticed its replacement"

say "short pauses of every member, repeatedly"
for _ in $(seq 8); do
	victim=$((RANDOM % 3 + 1))
	member_pause $victim
	sleep "0.$((RANDOM % 9))"
	member_resume $victim
	sleep 0.2
done

say "all members together"
for i in 1 2 3; do member_pause $i; done
sleep 1
for i in 1 2 3; do member_resume $i; done
wait_leader >/dev/null
at=$(count)
more() { [ "$(count)" -gt $((at + 100)) ]; }
until_true 60 more
kill -TERM "$CHILD"
wait "$CHILD" || fail "the writers found a violation"
wait_equal
for i in 1 2 3; do
	"$TOOLS/writers" verify "$T/journal" "${MNT[$i]}"
done
same_mounts
