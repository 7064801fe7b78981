#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The benchmark: commits per second and latency through real mounts of three members on one disk,
# beside the figures of that disk alone in the same run; restart time; fail-over gap.
#
# Usage: tests/bench/run.sh BUILD      (make bench; root)
#
#   BENCH_SECONDS=5        of each measurement
#   BENCH_WRITERS="1 16 64 256"
#   BENCH_RESTART=100000,1000000   also measure restarts with that many files (takes long)
#   BENCH_FILES=1000000    memory of the members while that many files of 256 bytes are made
#   BENCH_ROUNDS=21        of each measurement of reading
#   BENCH_IDLE=10          seconds
#   BENCH_FAILOVER=10      kills of the leader; 0: none
#   BENCH_INOTIFY=500      writes with an event on another host; 0: none
#   BENCH_CHANGES=10000    changes whose processor time on a watching host is measured,
#   BENCH_RATE=1000        at this rate per second
#   BENCH_ONLY=inotify     only this part
#   BENCH_DIR=…            where the databases are (default: a temporary directory)
#
# Prints a table and writes BUILD/bench.json. All three members and the writers share this machine's
# processors, so a cluster of three machines is faster.
set -eu -o pipefail

BUILD=$(cd "${1:?usage: tests/bench/run.sh BUILD}" && pwd)
export BUILD
TMPDIR=${BENCH_DIR:-${TMPDIR:-/tmp}}
export TMPDIR
SECONDS_EACH=${BENCH_SECONDS:-5}
read -r -a PARALLEL <<<"${BENCH_WRITERS:-1 16 64 256}"
FAILOVER=${BENCH_FAILOVER:-10}
ROUNDS=${BENCH_ROUNDS:-21}
IDLE=${BENCH_IDLE:-10}
REPLACEMENTS=20
INOTIFY=${BENCH_INOTIFY:-500}
CHANGES=${BENCH_CHANGES:-10000}
RATE=${BENCH_RATE:-1000}
JSON=$BUILD/bench.json

. "$(dirname "$0")/../it/lib.sh"

need_fuse
need_tool jq strace
: >"$T/results"

# bench WHERE JOB ARGUMENTS…: makes one measurement and adds it to the results and to the table.
bench() {
	local where=$1 line
	shift
	line=$("$TOOLS/bench" "$@")
	jq -c --arg where "$where" '. + {where: $where}' <<<"$line" >>"$T/results"
	jq -r --arg where "$where" '[$where, .what, .writers, (.per_second | round), (.p50_us / 1000), (.p99_us / 1000),
		(.max_us / 1000)] | @tsv' <<<"$line" |
		awk -F '\t' '{ printf "%-10s %-8s %8d %12d %10.2f %10.2f %10.2f\n", $1, $2, $3, $4, $5, $6, $7 }'
}

figure() { # NAME VALUE UNIT: a single number
	printf '%-52s %10s %s\n' "$1" "$2" "$3"
	jq -n -c --arg name "$1" --argjson value "$2" --arg unit "$3" '{figure: $name, value: $value, unit: $unit}' >>"$T/results"
}

heading() {
	printf '%-10s %-8s %8s %12s %10s %10s %10s\n' WHERE WHAT WRITERS PER_SECOND P50_MS P99_MS MAX_MS
}

measure_disk() {
	local n
	for n in "${PARALLEL[@]}"; do
		bench disk sync "$T" "$n" "$SECONDS_EACH"
	done
}

measure_mounts() {
	local n leader follower
	leader=$(wait_leader)
	follower=$(a_follower)
	for n in "${PARALLEL[@]}"; do
		bench leader write "${MNT[$leader]}" "$n" "$SECONDS_EACH"
		bench follower write "${MNT[$follower]}" "$n" "$SECONDS_EACH"
	done
	bench leader create "${MNT[$leader]}" 16 "$SECONDS_EACH"
	bench follower create "${MNT[$follower]}" 16 "$SECONDS_EACH"
}

rss_kib() { awk '/^VmRSS/ { print $2 }' "/proc/$(member_pid "$1")/status"; }

# Locks: of one host; passed between two hosts; 1000 waiting; 10000 held.
measure_locks() {
	local follower other before n
	follower=$(a_follower)
	other=$((follower % 3 + 1))
	mkdir "${MNT[$follower]}/locks" "${MNT[$follower]}/held"
	"$BUILD/coordfs" sync "${MNT[$other]}"
	"$TOOLS/locks" pair "${MNT[$follower]}/locks" 500 >"$T/locks"
	figure "locks: a commit (write of 10 bytes), one host, p50" "$(jq .write "$T/locks")" us
	figure "locks: uncontended flock, p50" "$(jq .lock "$T/locks")" us
	figure "locks: its unlock, p50" "$(jq .unlock "$T/locks")" us
	"$TOOLS/locks" handover "${MNT[$follower]}/locks" "${MNT[$other]}/locks" 500 >"$T/locks"
	figure "locks: unlock here to flock there, p50" "$(jq .handover "$T/locks")" us
	"$TOOLS/locks" crowd "${MNT[$follower]}/locks" "${MNT[$other]}/locks" 1000 >"$T/locks"
	figure "locks: 1000 waiters on two hosts, each hand-over" "$(jq .each "$T/locks")" us
	n=10000
	coproc HOLD { "$TOOLS/locks" hold "${MNT[$follower]}/held" "$n"; }
	read -r <&"${HOLD[0]}"
	before=$(rss_kib "$follower")
	echo >&"${HOLD[1]}"
	read -r <&"${HOLD[0]}"
	figure "locks: memory for one that is held, of $n" $((($(rss_kib "$follower") - before) * 1024 / n)) B
	eval "exec ${HOLD[1]}>&-"
	wait "$HOLD_PID"
}

# Ratios of one run: a tmpfs never leaves the kernel.
measure_reads() {
	local line
	mkdir "$T/tmpfs" "${MNT[1]}/reads"
	mount -t tmpfs none "$T/tmpfs"
	printf '%-10s %12s %12s %12s %12s %8s %8s\n' READING BEST_US MEDIAN_US TMPFS_BEST TMPFS_MEDIAN RATIO MEDIANS
	while read -r line; do
		jq -c '. + {where: "reads"}' <<<"$line" >>"$T/results"
		jq -r '[.what, .best_ns / 1000, .median_ns / 1000, .reference_best_ns / 1000, .reference_median_ns / 1000,
			.ratio_best, .ratio_median] | @tsv' <<<"$line" |
			awk -F '\t' '{ printf "%-10s %12.2f %12.2f %12.2f %12.2f %8.2f %8.2f\n", $1, $2, $3, $4, $5, $6, $7 }'
	done < <("$TOOLS/reads" "${MNT[1]}/reads" "$T/tmpfs" "$ROUNDS")
	umount "$T/tmpfs"
	rmdir "${MNT[1]}/reads"
	echo
}

# Runs a command and counts the syncs of all members into SYNCS (by member).
with_syncs() { # COMMAND…
	local i pids=()
	for i in $(running); do
		: >"$T/trace-$i"
		strace -f -e trace=fsync,fdatasync,sync_file_range -o "$T/trace-$i" -p "$(member_pid "$i")" 2>"$T/attached-$i" &
		pids+=($!)
		CHILDREN+=($!)
	done
	for i in $(running); do
		until_true 20 grep -q attached "$T/attached-$i"
	done
	"$@"
	for i in "${pids[@]}"; do
		kill "$i"
		wait "$i" || true
	done
	SYNCS=()
	for i in $(running); do
		SYNCS[i]=$(grep -cE 'sync[a-z_]*\(' "$T/trace-$i" || true)
	done
}

per_member() { # DIVISOR: what SYNCS has
	local i
	for i in "${!SYNCS[@]}"; do
		awk -v n="${SYNCS[i]}" -v d="$1" 'BEGIN { printf "%.2f\n", n / d }'
	done | sort -n | tail -n 1
}

replace_echo() {
	local i text
	text=$(head -c 4095 /dev/zero | tr '\0' x)
	for ((i = 0; i < REPLACEMENTS; i++)); do
		echo "$text" >"${MNT[$1]}/replaced"
	done
	wait_equal
}

replace_cp() {
	local i
	for ((i = 0; i < REPLACEMENTS; i++)); do
		cp "$T/page" "${MNT[$1]}/replaced"
	done
	wait_equal
}

measure_replacing() {
	local what before member
	member=$(a_follower)
	head -c 4096 /dev/zero >"$T/page"
	echo >"${MNT[$member]}/replaced"
	for what in echo cp; do
		wait_equal
		before=$(st "$member" .applied)
		with_syncs replace_$what "$member"
		figure "log entries for a file of 4 KiB replaced by $what" \
			"$(awk -v n=$(($(st "$member" .applied) - before)) -v d=$REPLACEMENTS 'BEGIN { print n / d }')" entries
		figure "syncs of the busiest member for it" "$(per_member $REPLACEMENTS)" syncs
	done
}

cpu_ms() { # of all members
	local i
	for i in $(running); do
		sed 's/.*) //' "/proc/$(member_pid "$i")/stat"
	done | awk -v hz="$(getconf CLK_TCK)" '{ n += $12 + $13 } END { print n * 1000 / hz }'
}

measure_idle() {
	local before
	wait_equal
	before=$(cpu_ms)
	sleep "$IDLE"
	figure "processor time of 3 idle members in $IDLE s" $(($(cpu_ms) - before)) ms
	with_syncs sleep "$IDLE"
	figure "syncs of the busiest of them" "$(per_member 1)" syncs
}

most_kb() { # KEY of /proc/PID/status: the largest of all members
	local i
	for i in $(running); do
		awk -v key="$1:" '$1 == key { print $2 }' "/proc/$(member_pid "$i")/status"
	done | sort -n | tail -n 1
}

measure_memory() { # FILES
	local i
	for i in $(running); do
		echo 5 >"/proc/$(member_pid "$i")/clear_refs" # VmHWM begins anew
	done
	mkdir "${MNT[1]}/many"
	"$TOOLS/bench" fill "${MNT[1]}/many" 64 "$1" 256 >/dev/null
	wait_equal
	figure "resident memory of a member, maximum while $1 files are made" $(($(most_kb VmHWM) / 1024)) MiB
	figure "of that in the end, its own" $(($(most_kb RssAnon) / 1024)) MiB
}

measure_failover() {
	local run median max
	GAPS=()
	for ((run = 0; run < FAILOVER; run++)); do
		leader_gap 200 kill >/dev/null
		member_unmount "$LEADER"
		member_start "$LEADER"
	done
	[ "$FAILOVER" = 0 ] || {
		read -r median max <<<"$(median_max "${GAPS[@]}")"
		figure "gap after kill -9 of the leader, median of $FAILOVER" "$median" ms
		figure "gap after kill -9 of the leader, maximum" "$max" ms
	}
}

percentile() { # P COLUMN <numbers
	sort -n -k "$2,$2" | awk -v p="$1" -v c="$2" '{ v[NR] = $c } END { printf "%.2f", v[int((NR - 1) * p / 100) + 1] / 1000 }'
}

ticks() { # PID: its processor time, user and system
	sed 's/.*) //' "/proc/$1/stat" | cut -d ' ' -f 12,13
}

# Processor time of the follower's daemon and of its mirror for each of $CHANGES changes of JOB,
# made on the leader at a rate of $RATE per second in directories that are all watched.
watched_cpu() { # JOB LEADER-DIR FOLLOWER WHAT
	local daemon mirror du ds mu ms u s done_before n
	daemon=$(member_pid "$3")
	mirror=$(st "$3" .mirror.pid)
	done_before=$(st "$3" .mirror.done)
	read -r du ds < <(ticks "$daemon")
	read -r mu ms < <(ticks "$mirror")
	"$TOOLS/bench" "$1" "$2" 16 "$CHANGES" "$RATE" >/dev/null
	"$BUILD/coordfs" sync "${MNT[$3]}"
	read -r u s < <(ticks "$daemon")
	du=$((u - du)) ds=$((s - ds))
	read -r u s < <(ticks "$mirror")
	mu=$((u - mu)) ms=$((s - ms))
	n=$(($(st "$3" .mirror.done) - done_before))
	figure "changes made known ($4)" "$n" changes
	figure "processor time of the daemon for each, user ($4)" "$(us_each $du "$n")" us
	figure "processor time of the daemon for each, system ($4)" "$(us_each $ds "$n")" us
	figure "processor time of the mirror for each, user ($4)" "$(us_each $mu "$n")" us
	figure "processor time of the mirror for each, system ($4)" "$(us_each $ms "$n")" us
	figure "of one core, at 1000 changes a second ($4)" "$(us_each $(((du + ds + mu + ms) / 10)) "$n")" %
}

us_each() { # TICKS CHANGES
	echo $(($1 * (1000000 / $(getconf CLK_TCK)) / $2))
}

# The time from the beginning of the write to its end on the leader, and to its event on a follower.
# The promise is about their ratio: p50 below 2 (one more commit), p99 below 4.
watched_latency() { # LEADER-DIR FOLLOWER-DIR WHAT
	local p
	"$TOOLS/inotify" latency "$INOTIFY" "$1" "$2" >"$T/latency"
	for p in 50 99; do
		figure "write returned on the leader, p$p ($3)" "$(percentile $p 1 <"$T/latency")" ms
		figure "event on a follower, from the write's begin, p$p ($3)" "$(percentile $p 2 <"$T/latency")" ms
	done
}

# Watches on a follower, and changes on the leader: alone, and beside 10000 other watches.
measure_inotify() {
	local a b number n job
	a=${MNT[$(wait_leader)]} number=$(a_follower)
	b=${MNT[$number]}
	mkdir "$a/inotify" "$a/watched" "$a/changed"
	(cd "$a/watched" && seq -f 'd%g' 1 10000 | xargs mkdir)
	"$BUILD/coordfs" sync "$b"
	background inotifywait -q -m -r "$b/changed" >/dev/null 2>&1
	for n in 0 10000; do
		[ "$n" = 0 ] || {
			background inotifywait -m -r "$b/watched" 2>"$T/watches" >/dev/null
			until_true 60 grep -q established "$T/watches"
		}
		sleep 1
		watched_latency "$a/inotify" "$b/inotify" "$n other watches"
		for job in churn make; do
			watched_cpu $job "$a/changed" "$number" "$job, $n other watches"
		done
	done
}

measure_restart() { # FILES: one member's restart with that many more or less
	local begin i times=() median max
	for i in 1 2 3 4 5; do
		member_stop 1
		begin=$(now_ms)
		member_start 1
		cat "${MNT[1]}/probe" >/dev/null
		times+=($(($(now_ms) - begin)))
	done
	: "$i"
	read -r median max <<<"$(median_max "${times[@]}")"
	figure "restart with $1 files until a file can be read, median" "$median" ms
	figure "restart with $1 files until a file can be read, maximum" "$max" ms
}

measure_restarts() {
	local count have=0
	for count in ${BENCH_RESTART//,/ }; do
		mkdir "${MNT[1]}/fill-$count"
		"$TOOLS/bench" fill "${MNT[1]}/fill-$count" 64 $((count - have)) 100 >/dev/null
		have=$count
		wait_equal
		measure_restart "$count"
	done
}

echo "coordfs $("$BUILD/coordfsd" --version | cut -d ' ' -f 2), $(nproc) processors, load $(cut -d ' ' -f 1 /proc/loadavg)," \
	"kernel $(uname -r), $(stat -f -c %T "$T"), 256-byte writes, ${SECONDS_EACH} s each"
if [ "${BENCH_ONLY:-}" = inotify ]; then
	start_cluster 3
	measure_inotify
	exit 0
fi
heading
measure_disk
start_cluster 3
measure_mounts
echo
measure_reads
measure_replacing
measure_idle
[ -z "${BENCH_FILES:-}" ] || measure_memory "$BENCH_FILES"
measure_locks
[ "$INOTIFY" = 0 ] || measure_inotify
measure_failover
if [ -n "${BENCH_RESTART:-}" ]; then
	echo probe >"${MNT[1]}/probe"
	measure_restarts
fi
jq -s '{version: 1, time: (now | floor), results: .}' "$T/results" >"$JSON"
echo
echo "also in $JSON"
