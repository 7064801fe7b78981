#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 300
# Random programs give the same answers on ext4, on one mount, and on two mounts in turn
# (tests/it/differential.py).
#
#   SEEDS=2      programs; `make differential` runs 200
#   SEED=1       the first seed
#   CALLS=1000   of each program
. "$(dirname "$0")/lib.sh"

need_fuse
need_tool python3
SEEDS=${SEEDS:-2}
start_cluster 3
leader=$(wait_leader)
local_disk "$T/reference"
python3 "$SRC/tests/it/differential.py" -n "$SEEDS" -s "${SEED:-1}" -c "${CALLS:-1000}" \
	"$T/reference" "${MNT[leader]}" "${MNT[leader % 3 + 1]}" | tee "$T/differential" ||
	fail "the answers differ, see above"
result "$(tail -n 1 "$T/differential")"
