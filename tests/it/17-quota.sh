#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Quotas of directories on three hosts, with common programs.
. "$(dirname "$0")/lib.sh"

need_fuse
need_tool setfattr getfattr
start_cluster 3
w=$(a_follower)
M=${MNT[$w]}
O=${MNT[$(wait_leader)]}

quota() { setfattr -n "user.coordfs.quota.$2" -v "$3" "$1"; }
used() { getfattr --absolute-names --only-values -n "user.coordfs.usage.$2" "$1"; }

say "bytes"
mkdir "$M/d"
quota "$M/d" bytes 1M
head -c 900000 /dev/urandom >"$M/d/a"
says "Disk quota exceeded" bash -c 'head -c 300000 /dev/zero | tr "\0" x >"$1"' - "$M/d/b"
says "Disk quota exceeded" dd if=/dev/zero of="$M/d/b" bs=64k count=10 status=none
says "Disk quota exceeded" bash -c 'yes | head -c 200000 | cat >>"$1"' - "$M/d/b"
says "Disk quota exceeded" cp "$M/d/a" "$M/d/c"
"$BUILD/coordfs" sync "$O"
at_most "$(used "$O/d" bytes)" $((1 << 20)) "bytes used"
cmp "$M/d/a" "$O/d/a"
rm "$M/d/b" "$M/d/c"
is_used() { [ "$(used "$O/d" "$1")" = "$2" ]; }
until_true 60 is_used bytes 900000 # removed files count until they are reaped
cp "$M/d/a" "$M/elsewhere"
cp "$M/elsewhere" "$M/d/a" # replaced as a whole
"$BUILD/coordfs" sync "$O"
equal "$(used "$O/d" bytes)" 900000 "bytes after a replacement"

say "entries"
quota "$M/d" entries 4
mkdir -p "$M/d/x/y"
touch "$M/d/x/y/z"
says "Disk quota exceeded" touch "$M/d/more"
says "Disk quota exceeded" ln -s x "$M/d/more"
"$BUILD/coordfs" sync "$O"
equal "$(used "$O/d" entries)" 4 "entries"

say "across quotas mv copies and ln fails"
rm -r "$M/d/x"
touch "$M/f"
until_true 60 is_used entries 1 # removed directories count until they are reaped, too
says "cross-device" ln "$M/f" "$M/d/f"
echo content >"$M/f"
mv "$M/f" "$M/d/f"
equal "$(cat "$M/d/f")" content "the file that was moved in"
mkdir "$M/tree"
mv "$M/d/f" "$M/tree/g"
equal "$(cat "$M/tree/g")" content "the file that was moved out"
[ ! -e "$M/d/f" ] || fail "the file still exists"
mv "$M/d" "$M/tree/d" # as a whole
"$BUILD/coordfs" sync "$O"
equal "$(getfattr --absolute-names --only-values -n user.coordfs.quota.entries "$O/tree/d")" 4 "the limit"

say "a restart"
member_stop "$w"
member_start "$w"
says "Disk quota exceeded" cp "$M/elsewhere" "$M/tree/d/other"
setfattr -x user.coordfs.quota.bytes "$M/tree/d"
setfattr -x user.coordfs.quota.entries "$M/tree/d"
cp "$M/elsewhere" "$M/tree/d/other"
says "No such attribute" getfattr -n user.coordfs.usage.bytes "$M/tree/d"
wait_equal
