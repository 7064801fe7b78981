#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# mount(8)'s contract: mount -t coordfs, fstab, remount, -f, -s, umount, bad options.
# Runs in a mount namespace of its own, with our `make install` laid over the system's programs.
if [ -z "${IN_NAMESPACE:-}" ] && unshare -m true 2>/dev/null; then
	IN_NAMESPACE=1 exec unshare -m --propagation private "$0"
fi
. "$(dirname "$0")/lib.sh"

need_fuse
need_mount_namespace
define_cluster 1
M=${MNT[1]}
S=${STATE[1]}

say "install, and lay it over /usr/sbin and /usr/local"
make -s -C "$SRC" -o all BUILD="$BUILD" DESTDIR="$T/dest" install >"$T/make" 2>&1 || fail "$(cat "$T/make")"
for file in usr/local/sbin/coordfsd usr/local/bin/coordfs sbin/mount.coordfs; do
	[ -x "$T/dest/$file" ] || fail "make install did not install $file"
done
cp -a /usr/sbin "$T/sbin"
cp -a "$T/dest/sbin/." "$T/sbin/"
mount --bind "$T/sbin" /usr/sbin
mkdir -p "$T/local-sbin"
cp "$T/dest/usr/local/sbin/coordfsd" "$T/local-sbin/"
mount --bind "$T/local-sbin" /usr/local/sbin

source_and_type() { awk -v m="$M" '$2 == m { print $1, $3 }' /proc/mounts; }
has_flag() { awk -v m="$M" '$2 == m { print $4 }' /proc/mounts | tr ',' '\n' | grep -qx "$1"; }

# mounts OPTION…: `mount` with them succeeds in silence; unmounting it ends the daemon.
mounts() {
	local pid
	exits 0 mount "$@"
	equal "$OUT$ERR" "" "what mount said"
	equal "$(source_and_type)" "$CLUSTER fuse.coordfs" "/proc/mounts"
	pid=$(member_pid 1)
	touch "$M/usable"
	until_true 1 alive "$pid"
}

unmounts() {
	local pid
	pid=$(member_pid 1)
	umount "$M"
	until_true 20 gone "$pid"
	not_mounted "$M" || fail "still mounted"
}

say "mount and umount"
mounts -t coordfs "$CLUSTER" "$M" -o "state=$S"
has_flag rw && has_flag nosuid && has_flag nodev || fail "flags: $(grep " $M " /proc/mounts)"
echo content >"$M/f"
unmounts

say "what mount(8) passes on from fstab is ignored or obeyed"
mounts -t coordfs "$CLUSTER" "$M" -o "state=$S,rw,nofail,_netdev,user,noauto,x-systemd.automount,comment=x,defaults"
has_flag noexec || fail "user did not imply noexec"
unmounts
for option in users owner group auto; do
	mounts -t coordfs "$CLUSTER" "$M" -o "state=$S,$option"
	unmounts
done
# mount(8) itself drops these words, the opposites of flags, before it calls a helper.
exits 0 /usr/sbin/mount.coordfs "$CLUSTER" "$M" -o "state=$S,suid,dev,exec"
! has_flag nosuid && ! has_flag nodev || fail "suid,dev is ignored"
unmounts
exits 0 mount -t coordfs "$CLUSTER" "$M" -o "state=$S,ro"
has_flag ro || fail "it is not read-only"
says "Read-only" touch "$M/x"
equal "$(cat "$M/f")" content "content"
unmounts

# The type that /proc/mounts shows is a type to mount, too.
mounts -t fuse.coordfs "$CLUSTER" "$M" -o "state=$S"
unmounts

say "remount changes flags, and starts nothing"
mounts -t coordfs "$CLUSTER" "$M" -o "state=$S"
pid=$(member_pid 1)
mount -o remount,ro "$M"
says "Read-only" touch "$M/x"
mount -o remount,rw "$M"
touch "$M/x"
equal "$(member_pid 1)" "$pid" "the daemon's pid"
equal "$(grep -c " $M " /proc/mounts)" 1 "mounts"
unmounts

say "remount changes what it can, takes what is in force, refuses the rest by name"
option() { "$BUILD/coordfs" status --json "$M" | jq -r ".options[\"$1\"]"; }
mounts -t coordfs "$CLUSTER" "$M" -o "state=$S,timeout=9,peer=2=127.0.0.1:1,listen=127.0.0.1:2,id=1"
equal "$(option timeout) $(option lostlock)" "9 none" "the options in force"
for refused in nonsense=1 nonsense timeout=0 timeout=many timeout stale=deny session-ttl=20 state=/else \
	id=2 peer=2=127.0.0.1:9 peer=3=127.0.0.1:1 consistency=strong name=other; do
	exits 1 mount -o "remount,ro,timeout=7,$refused" "$M"
	one_line "'?(--)?${refused%%=*}"
	has_flag rw || fail "the flags of a refused remount were applied"
	equal "$(option timeout)" 9 "timeout after a refused remount"
done
exits 1 mount -o "remount,session-ttl=20" "$M"
one_line "$M: remount: cannot change 'session-ttl=20': unmount it, then mount it with this option"
exits 0 mount -o remount,timeout=2,lostlock=term,log-level=debug,session-ttl=10,stale=serve "$M"
equal "$OUT$ERR" "" "what mount said"
equal "$(option timeout) $(option lostlock) $(option log-level)" "2 term debug" "the options in force"
exits 0 "$BUILD/coordfs" status "$M"
matches "$OUT" '^options   timeout=2,.*lostlock=term' "coordfs status"
exits 0 mount -s -o "remount,nonsense,timeout=3" "$M"
equal "$(option timeout)" 3 "timeout after a remount with an unknown option and -s"
exits 0 mount -o "remount,ro,timeout=9" "$M"
has_flag ro || fail "it is not read-only"
exits 0 mount -o "remount,rw,noexec" "$M"
has_flag rw && has_flag noexec || fail "flags: $(grep " $M " /proc/mounts)"
equal "$(option timeout)" 9 "timeout after a remount that does not name it"
echo "$CLUSTER $M coordfs state=$S,timeout=5,id=1,peer=2=127.0.0.1:1,_netdev,nofail,x-a=b 0 0" >"$T/fstab"
exits 0 mount -T "$T/fstab" -o remount,ro "$M"
has_flag ro || fail "it is not read-only"
equal "$(option timeout)" 5 "timeout of fstab"
exits 0 mount -o remount,rw "$M"
pid=$(member_pid 1)
kill -STOP "$pid"
exits 32 mount -o remount,timeout=4 "$M"
kill -CONT "$pid"
one_line "$M: remount: its member does not answer"
unmounts
mkdir -p "$M"
exits 32 /usr/sbin/mount.coordfs "$CLUSTER" "$M" -o remount,timeout=4
one_line "$M: remount: no coordfs is mounted here"

say "fstab: mount DIR, mount -a twice"
echo "$CLUSTER $M coordfs state=$S,_netdev,nofail 0 0" >"$T/fstab"
exits 0 mount -T "$T/fstab" "$M"
equal "$(source_and_type)" "$CLUSTER fuse.coordfs" "/proc/mounts"
exits 0 mount -a -T "$T/fstab"
equal "$(grep -c " $M " /proc/mounts)" 1 "mounts after mount -a"
unmounts

say "-f does nothing; -s ignores unknown options; -v and -n"
exits 0 mount -f -t coordfs "$CLUSTER" "$M" -o "state=$S"
not_mounted "$M" || fail "-f mounted"
exits 0 mount -s -t coordfs "$CLUSTER" "$M" -o "state=$S,no-such-option"
mounted "$M" || fail "-s did not mount"
unmounts
exits 0 mount -v -n -t coordfs "$CLUSTER" "$M" -o "state=$S"
unmounts

# refused CODE WORDS mount's arguments…
refused() {
	local code=$1 words=$2
	shift 2
	exits "$code" mount "$@"
	one_line "$words"
	not_mounted "$M" || fail "mounted all the same"
	! member_runs 1 || fail "a daemon runs all the same"
}

say "refusals: exit code and one line"
refused 1 'unknown' -t coordfs "$CLUSTER" "$M" -o "state=$S,no-such-option"
refused 1 'timeout' -t coordfs "$CLUSTER" "$M" -o "state=$S,timeout=never"
refused 1 'name' -t coordfs "a b" "$M" -o "state=$S"
refused 2 'cluster' -t coordfs other "$M" -o "state=$S"
exits 32 "$T/dest/sbin/mount.coordfs" "$CLUSTER" "$T/missing" -o "state=$S"
one_line 'missing'
exits 32 mount -t coordfs "$CLUSTER" "$T/missing" -o "state=$S"
echo text >"$T/file"
exits 32 mount -t coordfs "$CLUSTER" "$T/file" -o "state=$S"
exits 1 "$T/dest/sbin/mount.coordfs"
one_line 'usage'
exits 1 "$T/dest/sbin/mount.coordfs" "$CLUSTER"
one_line 'usage'

say "a mountpoint that is taken"
mounts -t coordfs "$CLUSTER" "$M" -o "state=$S"
exits 2 mount -t coordfs "$CLUSTER" "$T/sbin" -o "state=$S"
one_line 'use|running|lock'
exits 32 mount -t coordfs other "$M" -o "state=$T/other"
equal "$(grep -c " $M " /proc/mounts)" 1 "mounts"
equal "$(cat "$M/f")" content "content"
unmounts

say "after a crash: mount DIR mounts again"
echo "$CLUSTER $M coordfs state=$S,_netdev,nofail 0 0" >"$T/fstab"
exits 0 mount -T "$T/fstab" "$M"
pid=$(member_pid 1)
kill -KILL "$pid"
until_true 20 gone "$pid"
says "not connected" ls "$M"
exits 0 mount -T "$T/fstab" "$M"
equal "$(cat "$M/f")" content "content"
equal "$(grep -c " $M " /proc/mounts)" 1 "mounts"
unmounts

# A mount whose daemon was killed. Another user works in it.
crashed() {
	mounts -T "$T/fstab" "$M"
	mkdir -p "$M/home"
	chown 1000 "$M/home"
	rm -f "$T/inside"
	(cd "$M/home" && exec setpriv --reuid 1000 --regid 1000 --clear-groups \
		sh -c 'exec 8>open; echo >&9; exec 9>&-; exec sleep 1000' 9>"$T/inside") &
	INSIDE=$!
	CHILDREN+=("$INSIDE")
	until_true 20 test -s "$T/inside"
	pid=$(member_pid 1)
	kill -KILL "$pid"
	until_true 20 gone "$pid"
	says "not connected" ls "$M"
}
# It is mounted once, and works.
works() {
	equal "$(cat "$M/f")" content "content"
	equal "$(grep -c " $M " /proc/mounts)" 1 "mounts"
}

say "after a crash, with another user's process inside: mount DIR, mount -a before and after it"
crashed
exits 0 mount -a -T "$T/fstab" # the kernel still lists it: mount(8) leaves it alone
exits 0 mount -T "$T/fstab" "$M"
equal "$OUT$ERR" "" "what mount said"
works
exits 0 mount -a -T "$T/fstab"
works
alive "$INSIDE" || fail "the process inside was killed"
says "not connected" ls "/proc/$INSIDE/cwd/"
kill "$INSIDE"
unmounts
crashed
exits 0 umount -l "$M"
exits 0 mount -a -T "$T/fstab"
works
kill "$INSIDE"
unmounts

say "a pid file that names another process, or none"
for stale in $$ 0 -1 text ''; do
	echo "$stale" >"$S/coordfsd.pid"
	exits 0 mount -T "$T/fstab" "$M"
	works
	unmounts
done

say "mounted twice: the same place, another place"
mkdir -p "$T/elsewhere"
mounts -T "$T/fstab" "$M"
exits 2 mount -t coordfs "$CLUSTER" "$M" -o "state=$S"
one_line "in use by a running member \(pid $(member_pid 1)\), which is mounted at $M: unmount it first"
exits 2 mount -t coordfs "$CLUSTER" "$T/elsewhere" -o "state=$S"
one_line "which is mounted at $M: unmount it first"
not_mounted "$T/elsewhere" || fail "it is mounted twice"
works

say "a daemon that does not answer: another mount of it ends"
pid=$(member_pid 1)
kill -STOP "$pid"
rc=0
timeout 60 mount.coordfs "$CLUSTER" "$M" -o "state=$S" 2>"$T/stderr" || rc=$?
kill -CONT "$pid"
equal "$rc" 2 "exit code of a mount over a daemon that does not answer"
one_line "in use by a running member \(pid $pid\)"
works
unmounts

say "a daemon that was killed while it started"
is_mounted() { ls "$M/f" >/dev/null 2>&1 || mount -T "$T/fstab" "$M" 2>"$T/stderr"; }
for delay in 0 0.01 0.03 0.1 0.2 0.4; do
	mount -T "$T/fstab" "$M" 2>"$T/stderr" &
	helper=$!
	sleep $delay
	pid=$(pgrep -f "^coordfsd --name $CLUSTER --mount $M " | sort -n | tail -n 1 || true)
	[ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true
	wait $helper || true
	# It may have been killed before, during or after its start.
	until_true 20 is_mounted
	[ "$(grep -c " $M " /proc/mounts)" = 1 ] || fail "mounts: $(grep " $M " /proc/mounts)"
	works
	unmounts
done

say "a state directory that cannot be written"
mkdir "$T/ro"
mount -t tmpfs tmpfs "$T/ro"
cp -a "$S" "$T/ro/state"
mount -o remount,ro "$T/ro"
exits 2 mount -t coordfs "$CLUSTER" "$M" -o "state=$T/ro/state"
one_line "$T/ro/state: Read-only file system"
exits 2 mount -t coordfs "$CLUSTER" "$M" -o "state=$T/ro/new"
one_line "$T/ro/new: Read-only file system"
not_mounted "$M" || fail "it is mounted"
umount "$T/ro"

say "umount -l while in use; umount -f of a stopped daemon"
mounts -t coordfs "$CLUSTER" "$M" -o "state=$S"
pid=$(member_pid 1)
exec 7<"$M/f"
umount -l "$M"
equal "$(cat <&7)" content "content of a file that was open"
exec 7<&-
until_true 20 gone "$pid"
mounts -t coordfs "$CLUSTER" "$M" -o "state=$S"
pid=$(member_pid 1)
umount -f "$M"
until_true 20 gone "$pid"
