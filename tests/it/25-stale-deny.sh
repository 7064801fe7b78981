#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 150
# Mount option stale=deny: without a quorum, reads give EIO on that host. With a quorum again, they
# show everything that was changed meanwhile.
. "$(dirname "$0")/lib.sh"

need_network_namespace
need_fuse
network_create 3
define_cluster 3
members_start 1 2 -- --timeout 5
member_start 3 --timeout 5 -o stale=deny
wait_leader >/dev/null
M=${MNT[3]}
mkdir "${MNT[1]}/d"
echo before >"${MNT[1]}/d/f"
wait_equal
answers() { cat "$M/d/f" >"$T/seen" 2>/dev/null; } # the first election may have taken too long
until_true 60 answers
equal "$(cat "$T/seen")" before "content"
ls -l "$M/d" >/dev/null

say "cut off"
network_cut 3
denied() { ! LC_ALL=C cat "$M/d/f" >/dev/null 2>"$T/said" && grep -q "Input/output error" "$T/said"; }
until_true 60 denied
says "Input/output error" ls "$M/d"
says "Input/output error" stat "$M/d/f"
says "Input/output error" cat "$M/other"
equal "$(jq -r .leader "$M/.coordfs/status")" 0 "the leader in the control directory"
matches "$(cat "$T/log-3")" "no quorum: reads are answered EIO" "the log"
equal "$(cat "${MNT[1]}/d/f")" before "content where there is a quorum"
wait_leader_of() { [ "$(st 1 '.leader != 0 and .leader != 3')" = true ]; }
until_true 60 wait_leader_of
echo after >"${MNT[1]}/d/f"

say "connected again"
network_heal 3
until_true 60 answers
equal "$(tail -n 1 "$T/seen")" after "the first answer"
wait_equal

say "a member that denies reads can be stopped"
member_kill 1
member_kill 2
until_true 60 denied
member_stop 3
members_start 1 2 3
wait_equal
until_true 60 answers
equal "$(cat "$T/seen")" after "content at the end"
