#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 300
# Each pair of calls on two hosts at the same moment, and three calls on three hosts: a host never
# sees an older state of a name than the state that it knows already (tests/tools/told.c). Then one
# host repeatedly removes and makes a file, and another host opens it.
#
#   TOLD_ROUNDS=3   of each pair, in each of the four runs; for the full run: 2000
#   TOLD_OPENS=300
. "$(dirname "$0")/lib.sh"

need_fuse
TOLD_ROUNDS=${TOLD_ROUNDS:-3}
TOLD_OPENS=${TOLD_OPENS:-300}

run_told() { # [-s] MOUNT…
	local options=() rc=0
	[ "$1" != -s ] || { options+=(-s) && shift; }
	"$TOOLS/told" "${options[@]}" -r $RANDOM "$TOLD_ROUNDS" "$@" >"$T/told" || rc=$?
	[ $rc = 0 ] || fail "$(cut -c 1-1000 "$T/told")"
	result "$# hosts ${options[*]}: $(tail -n 1 "$T/told")"
}

# The file is removed and made again on THERE, and opened on HERE. strong: it must be found.
open_often() { # THERE HERE strong|local
	python3 - "$1/opened" "$2/opened" "$3" "$TOLD_OPENS" <<-'END'
		import os, sys
		there, here, strong, n = sys.argv[1], sys.argv[2], sys.argv[3] == 'strong', int(sys.argv[4])
		wrong = {}
		for flags in (os.O_RDWR, os.O_RDWR | os.O_CREAT):
		    for i in range(n):
		        try:
		            os.unlink(there)
		        except FileNotFoundError:
		            pass
		        os.close(os.open(there, os.O_CREAT | os.O_RDWR, 0o644))
		        try:
		            os.close(os.open(here, flags, 0o644))
		        except FileNotFoundError as e:
		            if strong or flags & os.O_CREAT:
		                wrong[str(e)] = wrong.get(str(e), 0) + 1
		        except OSError as e:
		            wrong[str(e)] = wrong.get(str(e), 0) + 1
		if wrong:
		    sys.exit(str(wrong))
	END
}

all_runs() { # consistency [-s]
	local leader
	leader=$(wait_leader)
	say "consistency=$1"
	run_told "${@:2}" "${MNT[leader]}" "${MNT[leader % 3 + 1]}"
	run_told "${@:2}" "${MNT[1]}" "${MNT[2]}" "${MNT[3]}"
	open_often "${MNT[1]}" "${MNT[2]}" "$1"
	open_often "${MNT[2]}" "${MNT[3]}" "$1"
}

start_cluster 3
all_runs local
for i in 1 2 3; do
	member_stop "$i"
done
members_start 1 2 3 -- --consistency strong
all_runs strong -s
same_mounts
