#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 150
# Files that are written through one mount are equal in the others: 1000 files of 0 B to 1 MiB, a
# copy of /etc, odd files; then changes through each of the mounts.
. "$(dirname "$0")/lib.sh"

FILES=${REPLICATE_N:-1000}

need_fuse
start_cluster 3

say "cp -a /etc through mount 1"
cp -a /etc "$T/etc"
cp -a "$T/etc" "${MNT[1]}/etc"
wait_equal
for i in 1 2 3; do
	same_trees "$T/etc" "${MNT[$i]}/etc"
done

say "$FILES files of 0 B to 1 MiB through mount 1"
mkdir "$T/sizes" "${MNT[1]}/sizes"
head -c 1048576 /dev/urandom >"$T/random"
sizes=(0 1 511 512 513 4095 4096 4097 65535 65536 65537 131072 1048575 1048576)
total=0
for ((i = 0; i < FILES; i++)); do
	if [ $i -lt ${#sizes[@]} ]; then
		size=${sizes[i]}
	else
		# Sizes of all magnitudes: few are large.
		size=$(((RANDOM * 32768 + RANDOM) % (1 << (RANDOM % 21))))
	fi
	head -c "$size" "$T/random" >"$T/sizes/f$i"
	total=$((total + size))
done
begin=$(now_ms)
cp "$T"/sizes/f* "${MNT[1]}/sizes/"
result "$FILES files, $((total >> 20)) MiB written in $(($(now_ms) - begin)) ms"
wait_equal
for i in 1 2 3; do
	diff -r "$T/sizes" "${MNT[$i]}/sizes" || fail "sizes differ in mount $i"
done

say "odd files, through mount 2"
O=${MNT[2]}/odd
mkdir -m 1777 "$O"
echo text >"$O/file"
ln "$O/file" "$O/hard link"
ln -s file "$O/symlink"
ln -s /nowhere "$O/dangling"
mkfifo -m 600 "$O/fifo"
mknod "$O/device" b 7 0
"$TOOLS/fsop" socket "$O/socket"
truncate -s 5M "$O/sparse"
echo >"$O/$(printf 'new\nline \\ \t * ?')"
echo >"$O/$(printf '\377\376 not utf-8')"
echo >"$O/$(printf 'n%.0s' $(seq 255))"
chmod 4755 "$O/file"
chown 1234:4321 "$O/file" "$O/fifo"
chown -h 77:88 "$O/symlink"
touch -h -d '1999-12-31 23:59:59.999999999 UTC' "$O/symlink" "$O/file" "$O/fifo"
touch -d '2099-01-01 UTC' "$O"
setfattr -n user.one -v "$(printf 'v%.0s' $(seq 1000))" "$O/file"
setfattr -n user.two -v 0x00ff00 "$O"
setfattr -h -n trusted.three -v x "$O/symlink"
wait_equal
same_mounts
equal "$(stat -c '%h' "${MNT[3]}/odd/file")" 2 "link count in mount 3"
equal "$(stat -c '%i' "${MNT[3]}/odd/file")" "$(stat -c '%i' "${MNT[3]}/odd/hard link")" "inodes of a hard link"

say "changes of the same files through each mount in turn"
for i in 1 2 3 1 2 3; do
	echo "line from $i" >>"${MNT[$i]}/turns"
	"$BUILD/coordfs" sync "${MNT[$((i % 3 + 1))]}"
done
equal "$(tr '\n' ';' <"${MNT[1]}/turns")" \
	"line from 1;line from 2;line from 3;line from 1;line from 2;line from 3;" "lines"
mv "${MNT[3]}/odd/file" "${MNT[3]}/moved"
"$BUILD/coordfs" sync "${MNT[1]}"
rm "${MNT[1]}/odd/hard link"
"$BUILD/coordfs" sync "${MNT[2]}"
mv "${MNT[2]}/odd" "${MNT[2]}/even"
"$BUILD/coordfs" sync "${MNT[3]}"
rm -r "${MNT[3]:?}/etc"
wait_equal
for i in 1 2 3; do
	[ ! -e "${MNT[$i]}/etc" ] && [ -d "${MNT[$i]}/even" ] && [ -f "${MNT[$i]}/moved" ] ||
		fail "mount $i shows: $(ls "${MNT[$i]}")"
done
same_mounts

say "all members create one file at the same time: exactly one succeeds, every time"
for round in $(seq 20); do
	won=0
	pids=()
	for i in 1 2 3; do
		"$TOOLS/fsop" create "${MNT[$i]}/race-$round" 2>/dev/null &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		! wait "$pid" || won=$((won + 1))
	done
	equal "$won" 1 "winners of round $round"
done
