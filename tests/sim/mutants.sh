#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds each of the bugs in tests/sim/mutants into the simulation, runs it until it detects the
# bug, and prints a table. Called by `make mutants`, which sets CC, LINK, LIBS and OBJS.
#
# Usage: tests/sim/mutants.sh BUILD [NAME]...     exit status 1: a bug was not detected
#        MUTANT_SEEDS=n   number of worlds for each bug (default 2000)
set -u

BUILD=$1
shift
SEEDS=${MUTANT_SEEDS:-2000}
OUT=$BUILD/mutants
mkdir -p "$OUT"
missed=0 seen=0

run() { # NAME FILE WHAT
	local object=$OUT/${1//=/_}.o program=$OUT/${1//=/_} line
	# shellcheck disable=SC2086  # lists of words
	$CC -Wno-unused -D"$1" -c -o "$object" "$2" &&
		$LINK -o "$program" "$object" $OBJS "$BUILD/libcoordfs.a" $LIBS || exit 2
	SEEDS=$SEEDS SHRINK=${SHRINK:-0} timeout -k 5 600 "$program" >"$program.log" 2>&1
	line=$(grep -a -m 1 'SEED=' "$program.log")
	if [ -z "$line" ]; then
		printf '%-18s %5s  %-14s %s\n' "$1" "-" "NOT SEEN" "$3"
		missed=$((missed + 1))
		return
	fi
	seen=$((seen + 1))
	line=${line#*SEED=}
	case $line in
	*:*) printf '%-18s %5s  %-14s %s\n' "$1" "${line%%:*}" "$(expr "$line" : '[0-9]*: \([A-Z ]*\)')" "$3" ;;
	*) printf '%-18s %5s  %-14s %s\n' "$1" "$line" "(it crashes)" "$3" ;;
	esac
	rm -f "$program" "$object"
}

printf '%-18s %5s  %-14s %s\n' BUG SEEDS INVARIANT EFFECT
while read -r name file what; do
	case $name in '' | '#'*) continue ;; esac
	case " $* " in '  ' | *" $name "*) run "$name" "$file" "$what" ;; esac
done <tests/sim/mutants
echo "$seen seen, $missed not seen"
[ "$missed" = 0 ]
