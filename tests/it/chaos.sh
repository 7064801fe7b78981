#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Real daemons, mounts and networks: each kind of trouble (nemesis) against all workloads
# (tests/chaos/, tests/tools/writers.c, tests/tools/history.c), with a new cluster for each nemesis.
# A nemesis acts repeatedly for CHAOS_S seconds and always repairs its damage. Afterwards every
# workload must end, all members and mounts must be equal, each mount must show what the workloads
# were promised, every lock must be free, and `coordfs check` must find nothing.
#
#   CHAOS_S=20           seconds of each nemesis
#   CHAOS_SEED=n         selects actions, victims and times; their effects are not repeatable
#   CHAOS_NEMESES='…'    the nemeses; CHAOS_PICK=n: n of them, at random
#   CHAOS_WORKLOADS='…'  the workloads
#   CHAOS_MEMBERS=5      3 to 7
#   CHAOS_CONSISTENCY=…  strong, local (default: alternating)
#
# `make chaos` runs everything. The output and the logs of a round with a violation are in
# BUILD/chaos-logs.
. "$(dirname "$0")/lib.sh"

CHAOS_S=${CHAOS_S:-20}
CHAOS_SEED=${CHAOS_SEED:-$RANDOM}
NEMESES=${CHAOS_NEMESES:-kill power pause cut oneway bridge ring loss delay disk clock all}
WORKLOADS=${CHAOS_WORKLOADS:-flock fcntl ofd lockset append swap set queue files register}
MEMBERS=${CHAOS_MEMBERS:-5}
END_S=600 # for a workload to end, and to be checked
TTL=2     # of sessions
KEEP=$BUILD/chaos-logs
FAKETIME=$(compgen -G '/usr/lib/*/faketime/libfaketime.so.1' | head -n 1) || true

need_fuse
need_network_namespace
need_tool flock getfattr
RANDOM=$CHAOS_SEED
say "seed $CHAOS_SEED"
network_create "$MEMBERS"

# ---- Victims and times ---------------------------------------------------------------------------

pick_member() { # sets VICTIM: the leader, if there is one, more often than another member
	local seen
	VICTIM=$((RANDOM % MEMBERS + 1))
	[ $((RANDOM % 2)) = 0 ] || return 0
	seen=$(st "$VICTIM" .leader)
	case $seen in '' | 0 | null) ;; *) VICTIM=$seen ;; esac
}

nap() { # FROM TO: sleeps that many tenths of a second, at random
	local tenths=$(($1 + RANDOM % ($2 - $1 + 1)))
	sleep "$((tenths / 10)).$((tenths % 10))"
}

everybody() { seq 1 "$MEMBERS"; }

# ---- The nemeses: each function makes trouble once, and ends it ----------------------------------

nemesis_kill() {
	local i victims=()
	pick_member
	victims=("$VICTIM")
	[ $((RANDOM % 5)) != 0 ] || mapfile -t victims < <(everybody)
	for i in "${victims[@]}"; do
		kill -KILL "$(member_pid "$i")"
	done
	for i in "${victims[@]}"; do
		until_true 20 gone "$(member_pid "$i")"
		member_unmount "$i"
	done
	nap 1 35
	start_members "${victims[@]}"
}

nemesis_power() { # of one member or of all: unsynced data are lost (tests/tools/coordfsd_cut.c)
	local victims=()
	pick_member
	victims=("$VICTIM")
	[ $((RANDOM % 4)) != 0 ] || mapfile -t victims < <(everybody)
	members_cut $((RANDOM % 12 + 1)) "${victims[@]}"
	nap 1 35
	start_members "${victims[@]}"
}

nemesis_pause() { # usually until its session has expired
	local i victims
	pick_member
	victims=$VICTIM
	[ $((RANDOM % 4)) != 0 ] || victims=$(everybody)
	for i in $victims; do
		member_pause "$i"
	done
	if [ $((RANDOM % 4)) = 0 ]; then nap 1 10; else nap $((TTL * 10 + 5)) $((TTL * 10 + 25)); fi
	for i in $victims; do
		member_resume "$i"
	done
}

drop() { # MEMBER RULE… each is "in|out EXPRESSION"
	local i=$1 rule
	shift
	{
		echo 'table inet cut {'
		echo ' chain in { type filter hook input priority 0;'
		for rule in "$@"; do [ "${rule%% *}" != in ] || echo "  ${rule#* } drop"; done
		echo ' }'
		echo ' chain out { type filter hook output priority 0;'
		for rule in "$@"; do [ "${rule%% *}" != out ] || echo "  ${rule#* } drop"; done
		echo ' }'
		echo '}'
	} | in_network "$i" nft -f -
}

heal_networks() {
	local i
	for i in $(everybody); do
		network_heal "$i" 2>/dev/null || true
	done
}

nemesis_cut() { # one member, or two halves
	local a=() b=() i
	if [ $((RANDOM % 3)) = 0 ]; then
		for i in $(everybody); do
			if [ $((RANDOM % 2)) = 0 ]; then a+=("$i"); else b+=("$i"); fi
		done
		for i in "${a[@]}"; do
			[ ${#b[@]} = 0 ] || network_cut "$i" "${b[@]}"
		done
	else
		pick_member
		network_cut "$VICTIM"
	fi
	nap 5 50
	heal_networks
}

nemesis_oneway() { # a member that receives nothing, or whose packets are all lost
	pick_member
	if [ $((RANDOM % 2)) = 0 ]; then
		drop "$VICTIM" 'in iifname eth0'
	else
		drop "$VICTIM" 'out oifname eth0'
	fi
	nap 5 50
	heal_networks
}

nemesis_bridge() { # two halves without a connection; one member is connected to both
	local i side=(0) a=() b=()
	pick_member
	for i in $(everybody); do
		[ "$i" != "$VICTIM" ] || continue
		if [ $((${#side[@]} % 2)) = 0 ]; then a+=("$i"); else b+=("$i"); fi
		side+=("$i")
	done
	for i in "${a[@]}"; do
		network_cut "$i" "${b[@]}"
	done
	nap 10 50
	heal_networks
}

nemesis_ring() { # each member sees a majority, the nearest ones; no two see the same
	local i j far near=$(((MEMBERS + 2) / 4))
	for i in $(everybody); do
		far=()
		for j in $(everybody); do
			[ $(((j - i + MEMBERS) % MEMBERS)) -le $near ] ||
				[ $(((i - j + MEMBERS) % MEMBERS)) -le $near ] || far+=("$j")
		done
		[ ${#far[@]} = 0 ] || network_cut "$i" "${far[@]}"
	done
	[ "$MEMBERS" != 3 ] || network_cut 1 2
	nap 10 50
	heal_networks
}

nemesis_delay() { # each packet has its own delay: packets overtake one another
	local i hub=${NETWORKS[0]} ports=() longest=(20 80 300 800)
	for i in $(everybody); do
		ports+=("p$i")
		ip -n "$hub" link set "p$i" nomaster
	done
	background nsenter --net="/run/netns/$hub" "$TOOLS/delay" 1 "${longest[RANDOM % 4]}" "${ports[@]}"
	nap 20 60
	kill -TERM "$CHILD"
	wait "$CHILD" || [ $? = 143 ] || fail "the slow network ended too early"
	for i in "${ports[@]}"; do
		ip -n "$hub" link set "$i" master br0
	done
}

nemesis_loss() { # of packets: delays of all lengths, and broken connections
	local i
	for i in $(everybody); do
		drop "$i" "in iifname eth0 numgen random mod 100 < $((5 + RANDOM % 30))"
	done
	nap 10 50
	heal_networks
}

nemesis_disk() {
	pick_member
	head -c 1000000000 /dev/zero >"${STATE[VICTIM]}/filler" 2>/dev/null || true
	nap 10 50
	rm -f "${STATE[VICTIM]}/filler"
	start_dead
}

nemesis_clock() { # by up to a day, of one member or of all
	local i
	for i in $(everybody); do
		[ $((RANDOM % 2)) = 0 ] || set_clock "$i" "$((RANDOM % 3 - 1))d"
	done
	nap 5 20
	pick_member
	set_clock "$VICTIM" "$((RANDOM % 7200 - 3600))s"
	nap 5 20
	for i in $(everybody); do
		set_clock "$i" 0s
	done
}

nemesis_all() { # one of those that need no special cluster
	local list=(kill pause cut oneway bridge ring loss delay)
	"nemesis_${list[RANDOM % ${#list[@]}]}"
}

set_clock() { # MEMBER OFFSET
	local offset=$2
	case $offset in -*) ;; *) offset=+$offset ;; esac
	echo "$offset" >"$T/clock-$1.new"
	mv "$T/clock-$1.new" "$T/clock-$1"
}

# ---- Members -------------------------------------------------------------------------------------

start_members() { # NUMBER…
	local i rc=0 pids=()
	for i in "$@"; do
		if [ "$NEMESIS" = clock ]; then
			LD_PRELOAD=$FAKETIME FAKETIME_TIMESTAMP_FILE=$T/clock-$i FAKETIME_NO_CACHE=1 \
				FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 member_start "$i" &
		else
			member_start "$i" &
		fi
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i" || rc=1
	done
	return $rc
}

start_dead() { # starts members that are not running, or just ending
	local i
	for i in $(everybody); do
		member_runs "$i" && continue
		member_unmount "$i"
		start_members "$i"
	done
}

all_well() { # a member may still be ending when the trouble is over
	start_dead
	[ "$(running | wc -l)" = "$MEMBERS" ] && leader_now >/dev/null
}

heal() {
	local i
	for i in $(everybody); do
		member_runs "$i" && member_resume "$i"
		rm -f "${STATE[i]}/filler"
	done
	heal_networks
	until_true 300 all_well
}

begin_round() { # CONSISTENCY
	local i all
	DAEMON_OPTS=(--election-timeout 1000 --session-ttl "$TTL" --timeout 4 --consistency "$1"
		--compact 2000 --trailing 500)
	define_cluster "$MEMBERS"
	DAEMON=$BUILD/coordfsd
	if [ "$NEMESIS" = power ]; then
		DAEMON=$TOOLS/coordfsd_cut
		cuts_possible
	fi
	for i in $(everybody); do
		[ "$NEMESIS" != disk ] || mount -t tmpfs -o size=500m none "${STATE[i]}"
		set_clock "$i" 0s
		: >"$T/log-$i"
	done
	mapfile -t all < <(everybody)
	start_members "${all[@]}"
	for i in "${all[@]}"; do
		[ "$NEMESIS" != clock ] || note_clock "$i"
	done
	wait_leader >/dev/null
}

end_round() {
	local i
	for i in $(running); do
		member_stop "$i"
	done
	for i in $(everybody); do
		check_database "$i"
	done
	no_reports
}

forget_round() {
	local i
	for i in $(everybody); do
		! mounted "${STATE[i]}" || umount "${STATE[i]}"
		rm -rf "${STATE[i]}" "${STATE[i]}.left" "${STATE[i]}.cut"
	done
	rm -f "$T"/out-* "$T"/start "$T"/stop "$T"/verify "$T"/journal*
}

# ---- Workloads: pids in PID, verdicts in VERDICT -------------------------------------------------

declare -A PID VERDICT

start_workload() { # NAME CONSISTENCY
	local out=$T/out-$1 how=owned
	[ "$2" = local ] || how=shared
	case $1 in
	files) background "$TOOLS/writers" run "$T/journal" 100000 1 "${MNT[@]}" >"$out" 2>&1 ;;
	register)
		mkdir "${MNT[1]}/register"
		HISTORY_DUMP=$T/out-history background "$TOOLS/history" $how $((CHAOS_S + 2)) 2 "${MNT[@]/%//register}" >"$out" 2>&1
		until_true 60 grep -qx ready "$out"
		;;
	*)
		background "$TOOLS/workload" "$1" "$T/start" "$T/stop" "$T/verify" "${MNT[@]}" >"$out" 2>&1
		until_true 60 grep -qx ready "$out"
		;;
	esac
	PID[$1]=$CHILD
}

stopped() { # NAME
	gone "${PID[$1]}" || grep -qx stopped "$T/out-$1"
}

within() { # SECONDS COMMAND…: true if it succeeds in time
	local end=$((SECONDS + $1 * WAIT_FACTOR))
	shift
	until "$@"; do
		[ $SECONDS -le $end ] || return 1
		sleep 0.05
	done
}

stop_workloads() {
	local w
	touch "$T/stop"
	[ -z "${PID[files]:-}" ] || kill -TERM "${PID[files]}" 2>/dev/null || true
	for w in $WORKLOADS; do
		within $END_S stopped "$w" || VERDICT[$w]='did not end'
	done
}

judge() { # NAME
	local w=$1 rc=0 i pids=()
	[ -z "${VERDICT[$w]:-}" ] || return 0
	within $END_S gone "${PID[$w]}" || { VERDICT[$w]='not checked'; return 0; }
	wait "${PID[$w]}" || rc=$?
	if [ "$w" = files ] && [ $rc = 0 ]; then
		for i in $(everybody); do
			"$TOOLS/writers" verify "$T/journal" "${MNT[i]}" >>"$T/out-$w" 2>&1 &
			pids+=($!)
		done
		for i in "${pids[@]}"; do
			wait "$i" || rc=$?
		done
	fi
	case $rc in
	0) VERDICT[$w]=ok ;;
	1) VERDICT[$w]=VIOLATED ;;
	*) VERDICT[$w]="ABORTED($rc)" ;; # nothing was checked
	esac
}

# Writes the names, attributes and contents of a mount to a file. Like same_trees of lib.sh, but
# each mount is read once, and all at the same time. With consistency=strong each call asks the
# leader.
view() { # MEMBER
	(
		cd "${MNT[$1]}"
		find . -type d -printf "$LINE_DIR %i %n %C@\n" -o -printf "$LINE_FILE %i %C@\n" | LC_ALL=C sort
		find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r md5sum
	) >"$T/view-$1"
}

same_views() {
	local i pids=() rc=0
	for i in $(everybody); do
		view "$i" &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i" || rc=1
	done
	[ $rc = 0 ] || fail "a mount cannot be read"
	for i in $(everybody); do
		diff "$T/view-1" "$T/view-$i" >"$T/diff" || fail "mounts 1 and $i differ: $(head -n 6 "$T/diff")"
	done
}

figures() { # NAME: how much was done/in doubt
	case $1 in
	files) sed -n 's,^\([0-9]*\) changes acknowledged\, \([0-9]*\) in doubt.*,\1/\2,p' "$T/out-$1" ;;
	register) awk 'NF == 3 { print $1 "/" $3 }' "$T/out-$1" ;;
	*) sed -n 's,^ok: \([0-9]*\) done\, \([0-9]*\) in doubt,\1/\2,p' "$T/out-$1" ;;
	esac
}

# ---- Rounds --------------------------------------------------------------------------------------

# libfaketime leaves files in /dev/shm; the environment of its processes has their names.
note_clock() { # MEMBER
	mapfile -t -O ${#CLOCK_FILES[@]} CLOCK_FILES < <(tr '\0' '\n' <"/proc/$(member_pid "$1")/environ" |
		sed -n 's,^FAKETIME_SHARED=/*\([^ ]*\) /*\(.*\),/dev/shm/\1\n/dev/shm/sem.\1\n/dev/shm/\2,p')
}
remove_clocks() {
	[ ${#CLOCK_FILES[@]} = 0 ] || rm -f "${CLOCK_FILES[@]}"
}
CLOCK_FILES=()
AT_END+=(remove_clocks)

ROWS=()
BAD=0

keep_round() { # copies the output and the logs
	local dir=$KEEP/$CHAOS_SEED-$1
	mkdir -p "$dir"
	cp "$T"/out-* "$T"/log-* "$dir/" 2>/dev/null || true
	say "VIOLATION in $1: see ${dir#"$SRC"/}"
	grep -h -m 3 -E 'violation|history:' "$T"/out-* || true
}

report_round() { # CONSISTENCY CLUSTER'S VERDICT
	local w row bad=0
	row=$(printf '%-7s %-6s' "$NEMESIS" "$1")
	for w in $WORKLOADS; do
		if [ "${VERDICT[$w]}" = ok ] && [[ $(figures "$w") == [1-9]* ]]; then
			row+=$(printf ' %11s' "$(figures "$w")")
		elif [ "${VERDICT[$w]}" = ok ]; then
			row+=$(printf ' %11s' 'NOT VALID') # the workload did nothing
			bad=1
		else
			row+=$(printf ' %11s' "${VERDICT[$w]}")
			bad=1
		fi
	done
	row+=" $(printf '%4d' $ACTS) $2"
	[ "$2" = ok ] || bad=1
	[ $bad = 0 ] || keep_round "$NEMESIS-$1"
	BAD=$((BAD + bad))
	ROWS+=("$row")
	say "$row"
}

round() { # CONSISTENCY
	local w end verdict=ok
	ACTS=0 PID=() VERDICT=()
	begin_round "$1"
	for w in $WORKLOADS; do
		start_workload "$w" "$1"
	done
	touch "$T/start"
	sleep 0.5
	end=$((SECONDS + CHAOS_S))
	while [ $SECONDS -lt $end ]; do
		"nemesis_$NEMESIS"
		ACTS=$((ACTS + 1))
		nap 3 12
	done
	heal
	stop_workloads
	(wait_equal) >"$T/out-equal" 2>&1 || verdict="not equal"
	touch "$T/verify"
	for w in $WORKLOADS; do
		judge "$w"
	done
	(wait_equal; same_views) >>"$T/out-equal" 2>&1 || verdict="not equal"
	(end_round) >"$T/out-check" 2>&1 || verdict="check: $(head -n 1 "$T/out-check")"
	[ $ACTS -gt 0 ] || verdict='no trouble'
	report_round "$1" "$verdict"
	forget_round
}

possible() { # NEMESIS
	case $1 in
	clock) [ -n "$FAKETIME" ] && case ${BUILD##*/} in *-*) false ;; esac ;; # a sanitizer must be loaded first
	loss) unshare -n nft 'add table inet p; add chain inet p c; add rule inet p c numgen random mod 100 < 5 drop' 2>/dev/null ;;
	esac
}

chosen=()
for n in $NEMESES; do
	if possible "$n"; then chosen+=("$n"); else say "$n: impossible on this machine"; fi
done
if [ -n "${CHAOS_PICK:-}" ]; then
	mapfile -t chosen < <(printf '%s\n' "${chosen[@]}" | while read -r n; do echo "$RANDOM $n"; done | sort -n | head -n "$CHAOS_PICK" | cut -d ' ' -f 2)
fi
turn=$((CHAOS_SEED % 2))
for NEMESIS in "${chosen[@]}"; do
	turn=$((1 - turn))
	if [ $turn = 0 ]; then mode=strong; else mode=local; fi
	round "${CHAOS_CONSISTENCY:-$mode}"
done
N=0 # all are stopped and checked

echo
echo "done/in doubt; the last columns: number of troubles, the cluster afterwards; seed $CHAOS_SEED"
# shellcheck disable=SC2086 # words
printf '%-14s' nemesis && printf ' %11s' $WORKLOADS && echo '   n'
printf '%s\n' "${ROWS[@]}"
result "${#ROWS[@]} nemeses against $(wc -w <<<"$WORKLOADS") workloads, $BAD with violations, seed $CHAOS_SEED"
[ $BAD = 0 ] || exit 1
