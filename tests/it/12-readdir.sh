#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A directory that changes while it is read: a name that exists all the time is seen exactly once.
# Positions stay valid.
. "$(dirname "$0")/lib.sh"

need_fuse
start_cluster 3
leader=${MNT[$(wait_leader)]}
follower=${MNT[$(a_follower)]}

for dir in "$leader/a" "$follower/b"; do
	mkdir "$dir"
	"$TOOLS/fsop" readdir "$dir"
	"$TOOLS/fsop" seekdir "$dir"
done

say "changes from another host while ls runs repeatedly"
mkdir "$leader/busy"
(cd "$leader/busy" && seq -f 'stays-%g' 1 300 | xargs touch)
"$BUILD/coordfs" sync "$follower"
background bash -c "
	for i in \$(seq 1 80); do
		: >'$leader/busy/passing-'\$i
		[ \$i -le 5 ] || rm '$leader/busy/passing-'\$((i - 5))
		mv '$leader/busy/stays-'\$((i % 300 + 1)) '$leader/busy/tmp' &&
			mv '$leader/busy/tmp' '$leader/busy/stays-'\$((i % 300 + 1))
	done"
rounds=0
while kill -0 "$CHILD" 2>/dev/null; do
	# At most two names are being changed (a renamed file may be seen under neither name or
	# under both).
	n=$(find "$follower/busy" -name 'stays-*' | sort | uniq -d | wc -l)
	equal "$n" 0 "names seen twice"
	n=$(find "$follower/busy" -name 'stays-*' | wc -l)
	[ "$n" -ge 290 ] || fail "only $n of 300 names seen"
	rounds=$((rounds + 1))
done
wait "$CHILD"
[ "$rounds" -ge 3 ] || fail "only $rounds rounds: too few to prove anything"
"$BUILD/coordfs" sync "$follower"
equal "$(find "$follower/busy" -name 'stays-*' | wc -l)" 300 "names at the end"

say "rm -r of a large directory"
rm -r "$leader/busy"
[ ! -e "$leader/busy" ] || fail "the directory still exists"
wait_equal
same_mounts
