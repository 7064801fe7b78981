#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Transactions and sequential names from three hosts, while leaders are killed: each transaction
# happens as a whole or not at all, every acknowledged one has happened, and no number is assigned
# twice.
# limit: 180
. "$(dirname "$0")/lib.sh"

need_fuse
KILLS=${KILLS:-4}
start_cluster 3
C=$BUILD/coordfs
mkdir "${MNT[1]}/pairs" "${MNT[1]}/seq"
wait_equal

# Writes its own files: done-I, unknown-I (names of pairs), names-I (of sequential entries).
worker() { # MEMBER
	local i=$1 n=0 out name
	while [ ! -e "$T/stop" ]; do
		n=$((n + 1))
		if out=$("$C" txn -C "${MNT[i]}" 2>/dev/null <<-END
			create pairs/$i-$n.a
			put seq/n- $i-$n sequential
			create pairs/$i-$n.b
		END
		); then
			echo "$i-$n" >>"$T/done-$i"
			sed -n 's,^2 put seq/\([^ ]*\) .*,\1,p' <<<"$out" >>"$T/names-$i"
		else
			echo "$i-$n" >>"$T/unknown-$i"
			sleep 0.05
		fi
		# Names that are removed immediately: their numbers must not be assigned again.
		if name=$("$C" create -s "${MNT[i]}/seq/n-" 2>/dev/null); then
			echo "${name##*/}" >>"$T/names-$i"
			"$C" rm "$name" 2>/dev/null || true
		fi
	done
}

for i in 1 2 3; do
	: >"$T/unknown-$i"
	background worker $i
done
for ((k = 1; k <= KILLS; k++)); do
	leader=$(wait_leader)
	sleep 1
	say "kill $k: member $leader"
	member_kill "$leader"
	sleep 1
	member_start "$leader"
done
wait_leader >/dev/null
sleep 1
touch "$T/stop"
wait "${CHILDREN[@]}" 2>/dev/null || true
wait_equal

pairs=${MNT[1]}/pairs
ls "$pairs" | sed -n 's/\.a$//p' | sort >"$T/with-a"
ls "$pairs" | sed -n 's/\.b$//p' | sort >"$T/with-b"
cmp "$T/with-a" "$T/with-b" || fail "only a part of a transaction was applied: $(diff "$T/with-a" "$T/with-b" | head -n 3)"
sort "$T"/done-* >"$T/done"
missing=$(comm -23 "$T/done" "$T/with-a" | wc -l)
equal "$missing" 0 "transactions that were reported done and are not there"
late=$(sort "$T"/unknown-* | comm -12 - "$T/with-a" | wc -l)
twice=$(sort "$T"/names-* | uniq -d)
equal "$twice" '' "names that were given twice"
# Each transaction made one entry of seq that contains its name. An empty entry is one that was to
# be removed, but its host was killed in between.
for name in "${MNT[1]}"/seq/*; do
	[ -s "$name" ] || continue
	cat "$name"
	echo
done | sort >"$T/in-seq"
cmp "$T/in-seq" "$T/with-a" || fail "seq and pairs differ: $(diff "$T/in-seq" "$T/with-a" | head -n 3)"
result "$(wc -l <"$T/done") transactions done, $(cat "$T"/unknown-* | wc -l) failed ($late of these happened), $(cat "$T"/names-* | wc -l) numbers, $KILLS leaders killed"
[ "$(wc -l <"$T/done")" -gt 50 ] || fail "too few transactions to prove anything"
same_mounts
