#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 300
# Every case of tests/posix gives the same results, errnos and metadata as on a local filesystem:
# through one mount, and through two mounts of the cluster that take turns.
. "$(dirname "$0")/lib.sh"

need_fuse
start_cluster 3
leader=${MNT[$(wait_leader)]}
follower=${MNT[$(a_follower)]}
local_disk "$T/reference"
tables=0
for table in "$SRC"/tests/posix/*.tbl; do
	say "$table"
	"$TOOLS/posix" "$table" "$T/reference" "$follower"
	"$TOOLS/posix" "$table" "$T/reference" "$leader" "$follower"
	tables=$((tables + 1))
done
[ "$tables" -ge 4 ] || fail "only $tables tables"
result "$(cat "$SRC"/tests/posix/*.tbl | grep -c '^case ') cases give equal results, with one mount and with two"
