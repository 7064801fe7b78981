#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Line coverage per file, from the counts that the tests left in a build with COVERAGE=1. Usage:
# tools/coverage.sh BUILD      (make coverage does everything before)
#
# A daemon writes its counts when it ends; kill -9 loses them.
set -eu -o pipefail

BUILD=${1:?usage: tools/coverage.sh BUILD}
cd "$(dirname "$0")/.."
[ -n "$(find "$BUILD" -name '*.gcda' -print -quit)" ] || {
	echo "coverage: no *.gcda in $BUILD: no test ran" >&2
	exit 1
}

# gcov prints "File 'X'" and "Lines executed:P% of N" for each source of an object.
gcov_all() {
	find "$BUILD" -name '*.gcno' | sort | while read -r notes; do
		gcov -n "$notes" 2>/dev/null
	done
}

gcov_all | awk -v layers='base proto store raft fs daemon cli mount-helper' '
	BEGIN { n_layers = split(layers, layer, " ") }
	/^File / { file = $2; gsub(/\047/, "", file); next }
	/^Lines executed:/ && file != "" {
		split($0, part, /[:% ]+/)
		lines = part[5]
		hit = int(part[3] * lines / 100 + 0.5)
		# A header, or a file of several objects, counts with its highest coverage.
		if (!(file in total) || hit > hits[file]) {
			total[file] = lines
			hits[file] = hit
		}
		file = ""
	}
	function percent(a, b) { return b > 0 ? sprintf("%5.1f %%", 100 * a / b) : "    - " }
	END {
		printf "%-40s %8s %8s %8s\n", "FILE", "LINES", "RUN", "COVERED"
		for (l = 1; l <= n_layers; l++) {
			n = 0
			for (file in total)
				if (index(file, layer[l] "/") == 1 && file ~ /\.c$/)
					names[++n] = file
			for (i = 2; i <= n; i++)
				for (j = i; j > 1 && names[j] < names[j - 1]; j--) {
					swap = names[j]; names[j] = names[j - 1]; names[j - 1] = swap
				}
			lines = run = 0
			for (i = 1; i <= n; i++) {
				file = names[i]
				printf "%-40s %8d %8d %8s\n", file, total[file], hits[file], percent(hits[file], total[file])
				lines += total[file]
				run += hits[file]
			}
			if (n > 0)
				printf "%-40s %8d %8d %8s\n\n", layer[l] "/ total", lines, run, percent(run, lines)
			all += lines
			all_run += run
		}
		printf "%-40s %8d %8d %8s\n", "TOTAL", all, all_run, percent(all_run, all)
		exit all == 0
	}'
