#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A ttl counts elapsed time from the commit. The wall clocks of the members are a day apart, and each
# of them leads in turn: an entry is removed not before its ttl is over, and not much later. Then all
# members are restarted: the time that has passed before still counts.
# limit: 200
. "$(dirname "$0")/lib.sh"

need_fuse
need_tool faketime
LIBRARY=$(faketime -f +0s sh -c 'echo "$LD_PRELOAD"')

# A daemon whose wall clock is wrong by OFFSET of its member; other clocks are true.
cat >"$T/daemon" <<END
#!/bin/bash
case "\$*" in
*"--id 2"*) offset=+1d ;;
*"--id 3"*) offset=-1d ;;
*) offset=+0s ;;
esac
export LD_PRELOAD='$LIBRARY' FAKETIME=\$offset FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_NO_CACHE=1
exec "$DAEMON" "\$@"
END
chmod +x "$T/daemon"
DAEMON=$T/daemon
start_cluster 3

nowhere() { # NAME
	local i j
	for i in 1 2 3; do
		for j in 1 2 3; do
			[ ! -e "${MNT[i]}/$1-$j" ] || return 1
		done
	done
}
all_there() { # NAME WHEN
	local i j
	for i in 1 2 3; do
		for j in 1 2 3; do
			[ -e "${MNT[i]}/$1-$j" ] || fail "$2: member $i: a ttl of member $j has ended"
		done
	done
}
begin_ttls() { # NAME SECONDS: by each member
	for i in 1 2 3; do
		echo x >"${MNT[i]}/$1-$i"
		setfattr -n user.coordfs.ttl -v "$2" "${MNT[i]}/$1-$i"
	done
}

say "the clocks are a day apart"
begin_ttls hour 3600
for i in 1 2 3; do wall[i]=$(stat -c %Y "${MNT[i]}/hour-$i"); done
[ $((wall[2] - wall[1])) -gt 86000 ] && [ $((wall[1] - wall[3])) -gt 86000 ] ||
	fail "the clocks are ${wall[*]}"

say "whichever member leads, and after each change of leader"
another_leads() { # MEMBER
	local i
	for i in 1 2 3; do
		[ "$i" = "$1" ] || [ "$(st "$i" .leader)" = "$1" ] || [ "$(st "$i" .leader)" = 0 ] || return 0
	done
	return 1
}
for round in 1 2 3; do
	leader=$(wait_leader)
	begun=$(now_ms)
	begin_ttls "short-$round" 2
	until_true 60 nowhere "short-$round"
	lived=$(($(now_ms) - begun))
	[ $lived -ge 2000 ] || fail "member $leader leads: a ttl of 2 s ended after $lived ms"
	result "member $leader leads: a ttl of 2 s ended after $lived ms"
	begin_ttls "over-$round" 4
	begun=$(now_ms)
	member_pause "$leader"
	until_true 60 another_leads "$leader"
	member_resume "$leader"
	wait_leader >/dev/null
	[ $(($(now_ms) - begun)) -ge 4000 ] || sync_mounts
	until_true 60 nowhere "over-$round"
	[ $(($(now_ms) - begun)) -ge 3000 ] || fail "a ttl of 4 s ended after a change of leader"
	sync_mounts
	all_there hour "member $leader led"
done

say "after a restart of all members"
begun=$(now_ms)
begin_ttls restarted 8
sleep 2
for i in 1 2 3; do member_stop $i; done
members_start 1 2 3
wait_leader >/dev/null
sync_mounts
all_there hour "after a restart"
until_true 100 nowhere restarted
lived=$(($(now_ms) - begun))
[ $lived -ge 8000 ] || fail "a ttl of 8 s ended after $lived ms"
result "a ttl of 8 s ended after $lived ms, with a restart of all members"
