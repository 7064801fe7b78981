#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# coordfs once, started on three hosts whose clocks differ by 5 seconds, as cron would: each period
# has exactly one run and none is skipped, also when a job is shorter than the clocks differ. Then
# the same while hosts die in the middle: no period is without a run that came to its end.
# limit: 300
. "$(dirname "$0")/lib.sh"

need_fuse
need_tool faketime
PERIOD=2
ONCE_N=${ONCE_N:-20}         # periods
ONCE_KILLS=${ONCE_KILLS:-3}  # hosts that die, in as many more periods as that takes
OFFSET_MS=('' 2500 0 -2500)  # of the hosts' clocks
DAEMON_OPTS+=(--session-ttl 2)
start_cluster 3
C=$BUILD/coordfs

# What is run: notes when it begins and ends. $1: the host, $2: where.
cat >"$T/job" <<'END'
#!/bin/sh
echo "begin $COORDFS_PERIOD $1" >>"$2"
sleep "0.$((COORDFS_PERIOD * 7 % 10))"
[ $((COORDFS_PERIOD % 3)) != 0 ] || sleep 1
echo "end $COORDFS_PERIOD $1" >>"$2"
END
chmod +x "$T/job"

# cron of a host: at the beginning of each period by its own clock, until LAST or until told.
cron() { # MEMBER LOG NAME WITHIN LAST
	local i=$1 log=$2 name=$3 within=$4 last=$5 now k=0 at
	while [ ! -e "$T/stop" ]; do
		now=$(($(now_ms) + OFFSET_MS[i]))
		k=$((now / (PERIOD * 1000) + 1))
		[ $k -le "$last" ] || break
		at=$((k * PERIOD * 1000 - now + 20))
		sleep "$(printf '%d.%03d' $((at / 1000)) $((at % 1000)))"
		faketime -f "$(printf '%+.3fs' "${OFFSET_MS[i]}e-3")" "$C" once -q --every ${PERIOD}s \
			--within "$within" --id "host-$i" "${MNT[i]}/$name" -- "$T/job" "$i" "$log" \
			>>"$T/said-$i" 2>&1 &
	done
	wait
}

crons() { # LOG NAME WITHIN LAST: starts them; pids in CRONS
	local i
	CRONS=()
	for i in 1 2 3; do
		background cron $i "$@"
		CRONS+=("$CHILD")
	done
}

# The periods from the first that was run to LAST, of which each must have its number of lines.
periods() { # LOG WORD
	awk -v word="$2" '$1 == word { print $2 }' "$1" | sort -n
}

say "$ONCE_N periods of $PERIOD s, clocks that differ by 5 s"
last=$(($(now_ms) / (PERIOD * 1000) + ONCE_N))
crons "$T/calm" calm 20s $last
wait "${CRONS[@]}"
first=$(periods "$T/calm" begin | head -n 1)
periods "$T/calm" begin >"$T/begun"
seq "$first" $last | cmp - "$T/begun" || fail "not one run a period: $(seq "$first" $last | diff - "$T/begun" | xargs)"
periods "$T/calm" end | cmp - "$T/begun" || fail "a run did not end"
[ "$(wc -l <"$T/begun")" -ge $((ONCE_N - 3)) ] || fail "only $(wc -l <"$T/begun") periods"
result "$(wc -l <"$T/begun") periods, each run once, by hosts $(awk '$1 == "begin" { n[$3]++ } END { for (h in n) printf "%s: %d ", h, n[h] }' "$T/calm")"

say "a late clock after an early one, and the report"
early() { faketime -f "+${PERIOD}s" "$C" once "$@"; }
exits 0 early --every 1d --id early "${MNT[1]}/skew" -- true
exits 0 "$C" once -v --every 1d "${MNT[2]}/skew" -- false
matches "$OUT" 'was run by early' "what the other says"
exits 0 "$C" once --every 1d "${MNT[2]}/skew" -- false
equal "$OUT$ERR" "" "what it says without a terminal"
exits 0 "$C" once --status "${MNT[2]}/skew"
matches "$OUT" 'run by early from .* exit status 0' "the report"
exits 7 faketime -f +1d "$C" once --every 1d "${MNT[2]}/skew" -- sh -c 'exit 7'
exits 0 "$C" once --every 1d "${MNT[1]}/skew" -- false # a late clock: not again
exits 2 "$C" once --every 2d "${MNT[2]}/skew" -- true
one_line 'the period is 86400000 ms, not 172800000 ms: remove the file'
exits 2 "$C" once "${MNT[2]}/skew" -- true
one_line 'usage'
exits 2 "$C" once --every 0 "${MNT[2]}/skew" -- true
one_line 'longer than 0'
exits 1 "$C" once --every 1d "$T/skew" -- true
one_line 'not in a mounted coordfs'
echo text >"${MNT[1]}/text"
exits 1 "$C" once --every 1d "${MNT[1]}/text" -- true
one_line 'not a record'
background "$C" lock "${MNT[1]}/busy" -- sleep 60
locked() { ! "$C" lock -n "${MNT[1]}/busy" -- true; }
until_true 30 locked
exits 1 "$C" once --every 1d --within 0.2 "${MNT[2]}/busy" -- true
one_line 'another host still runs it'
kill "$CHILD"

say "failures"
once() { # HOST ARGUMENT...: on that host, which is also its name
	exits "$WANT" "$C" once --every 1d --id "$1" "${@:2}"
}
cat >"$T/fails" <<END
#!/bin/sh
echo x >>"$T/tries"
exit 7
END
chmod +x "$T/fails"
tries() { wc -l <"$T/tries"; }
WANT=7 once a --retry 2 --retry-delay 0.01 "${MNT[1]}/done" -- "$T/fails"
one_line 'done: period [0-9]+: the command failed on a with exit status 7 \(3 tries\): it is not run again'
equal "$(tries)" 3 "tries"
WANT=0 once b "${MNT[2]}/done" -- "$T/fails"
equal "$OUT$ERR$(tries)" 3 "what the others say and do"
WANT=7 once a --on-failure next-host "${MNT[1]}/next" -- "$T/fails"
one_line 'the next host that asks for this period runs it'
WANT=0 once a --on-failure next-host "${MNT[1]}/next" -- "$T/fails" # a host tries it once
WANT=127 once b "${MNT[2]}/next" -- "$T/nothing"                    # counts for no host
WANT=126 once c "${MNT[3]}/next" -- "$T"
equal "$(tries)" 4 "tries of the next hosts"
WANT=0 once d "${MNT[3]}/next" -- true
WANT=0 once e "${MNT[1]}/next" -- "$T/fails"
equal "$(tries)" 4 "tries after the success"
exits 0 "$C" once --status "${MNT[2]}/next"
matches "$OUT" 'run by d .* exit status 0; it failed on a, b, c$' "the report"
PATH=/usr/bin:/bin WANT=127 once a "${MNT[1]}/path" -- no-such-command
matches "$ERR" 'no-such-command: No such file or directory: not found in PATH \(/usr/bin:/bin\): give its absolute path' "the remedy"
# A job that is told to end is not tried again.
background "$C" once --every 1d --retry 5 "${MNT[1]}/told" -- sh -c "echo x >>'$T/told'; sleep 60 & wait" 2>"$T/stderr"
until_true 30 test -s "$T/told"
kill "$CHILD"
! wait "$CHILD" || fail "a job that was ended is a success"
one_line 'exit status 143 \(1 try\)'
equal "$(wc -l <"$T/told")" 1 "tries"
exits 2 "$C" once --every 1d --on-failure x "${MNT[1]}/done" -- true
one_line "must be 'done' or 'next-host'"
exits 2 "$C" once --every 1d --id '' "${MNT[1]}/done" -- true
one_line 'must have 1 to 64 bytes'

say "a run that is longer than the others wait"
exits 0 "$C" once --every 1d --id a "${MNT[1]}/long" -- true # so that there is a record
background faketime -f +1d "$C" once --every 1d --id a "${MNT[1]}/long" -- sh -c "echo >'$T/long'; sleep 600"
until_true 30 test -e "$T/long"
late() { faketime -f "$1" "$C" once --every 1d --within 0.2 --id "$2" "${MNT[$3]}/long" -- false; }
exits 0 late +1d b 2 # that very period
equal "$OUT$ERR" "" "what a host says that waits for the run of its period"
exits 1 late +2d b 2
one_line 'period [0-9]+ is skipped: an earlier run took longer than --within: period [0-9]+ is run by a since'
exits 1 late +2d c 3
equal "$OUT$ERR" "" "what the second host says"
exits 1 late +3d c 3
one_line 'period [0-9]+ is skipped'
kill "$CHILD"

say "hosts that die in the middle"
crons "$T/wild" wild 60s 999999999999
: >>"$T/wild"
running_host() { # in HOST: who runs a job just now
	local open
	open=$(awk '$1 == "begin" { who[$2] = $3 } $1 == "end" { delete who[$2] } END { for (k in who) { print who[k]; exit } }' "$T/wild")
	[ -n "$open" ] && HOST=$open
}
for ((k = 1; k <= ONCE_KILLS; k++)); do
	sleep 2
	until_true 60 running_host
	say "kill $k: host $HOST, which runs a job"
	member_kill "$HOST"
	ends=$(grep -c end "$T/wild" || true)
	others_run() { [ "$(grep -c end "$T/wild")" -gt $((ends + 1)) ]; }
	until_true 60 others_run
	member_start "$HOST"
done
sleep 6
last=$((($(now_ms) + OFFSET_MS[3]) / (PERIOD * 1000) - 1)) # all clocks have got there
touch "$T/stop"
wait "${CRONS[@]}"
first=$(periods "$T/wild" end | head -n 1)
periods "$T/wild" end | uniq | awk -v last=$last '$1 <= last' >"$T/ended"
seq "$first" $last | cmp - "$T/ended" || fail "skipped: $(seq "$first" $last | diff - "$T/ended" | xargs)"
again=$(periods "$T/wild" begin | uniq -d | wc -l)
twice=$(periods "$T/wild" end | uniq -d | wc -l)
at_most "$again" "$ONCE_KILLS" "periods that were begun again"
at_most "$twice" "$ONCE_KILLS" "periods that were run twice to the end"
result "$(wc -l <"$T/ended") periods, $ONCE_KILLS hosts killed: none skipped, $again begun again, $twice run twice to the end"
