#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One member, one mount: every kind of file and every change of it, also after a restart.
. "$(dirname "$0")/lib.sh"

need_fuse
start_cluster 1
M=${MNT[1]}

say "df, mount and the root directory"
equal "$(awk -v m="$M" '$2 == m { print $1, $3 }' /proc/mounts)" "$CLUSTER fuse.coordfs" "/proc/mounts"
equal "$(stat -c '%i %F' "$M")" "1 directory" "the root"
[ "$(df --output=size "$M" | tail -n 1)" -gt 0 ] || fail "df shows no size"

say "regular files"
echo hello >"$M/f"
equal "$(cat "$M/f")" hello "content"
echo more >>"$M/f"
equal "$(cat "$M/f")" $'hello\nmore' "content after an append"
echo new >"$M/f"
equal "$(cat "$M/f")" new "content after a truncation"
: >"$M/empty"
equal "$(stat -c %s "$M/empty")" 0 "size of an empty file"
head -c 3000000 /dev/urandom >"$T/big"
cp "$T/big" "$M/big"
cmp "$T/big" "$M/big"
truncate -s 1000001 "$M/big" "$T/big"
cmp "$T/big" "$M/big"
printf patch | dd of="$M/big" bs=1 seek=4094 conv=notrunc status=none
printf patch | dd of="$T/big" bs=1 seek=4094 conv=notrunc status=none
cmp "$T/big" "$M/big"
truncate -s 2M "$M/sparse"
printf end | dd of="$M/sparse" bs=1 seek=1500000 conv=notrunc status=none
truncate -s 2M "$T/sparse"
printf end | dd of="$T/sparse" bs=1 seek=1500000 conv=notrunc status=none
cmp "$T/sparse" "$M/sparse"
"$TOOLS/fsop" append "$M/lines" 'a line' 100
equal "$(sort "$M/lines" | uniq -c | tr -s ' ')" " 100 a line" "appended lines"
"$TOOLS/fsop" mmap "$M/big"

say "attributes"
chmod 4751 "$M/f"
equal "$(stat -c %a "$M/f")" 4751 "mode"
chown 1234:5678 "$M/f"
equal "$(stat -c '%u:%g' "$M/f")" 1234:5678 "owner"
touch -d '2001-02-03 04:05:06.789012345 UTC' "$M/f"
equal "$(stat -c '%.9Y' "$M/f")" 981173106.789012345 "mtime"
touch -d '1930-01-01 00:00:00.5 UTC' "$M/empty"
equal "$(stat -c '%.1Y' "$M/empty")" -1262303999.5 "mtime before the epoch"
before=$(stat -c %Z "$M/f")
[ "$before" -ge $(($(date +%s) - 120)) ] || fail "ctime is old: $before"

say "directories"
mkdir -p "$M/a/b/c"
touch "$M/a/b/c/x"
equal "$(cd "$M" && find a | sort | tr '\n' ' ')" "a a/b a/b/c a/b/c/x " "a tree"
says "not empty" rmdir "$M/a/b"
says "Is a directory" "$TOOLS/fsop" write "$M/a" 0 1
says "Not a directory" ls "$M/f/"
says "File exists" mkdir "$M/a"
rm -r "$M/a/b/c"
rmdir "$M/a/b"
mkdir "$M/many"
(cd "$M/many" && seq 1 2000 | xargs touch)
equal "$(find "$M/many" -type f | wc -l)" 2000 "entries of a large directory"
rm -r "$M/many"
mkdir -m 2775 "$M/setgid"
chgrp 4242 "$M/setgid"
touch "$M/setgid/file"
mkdir "$M/setgid/dir"
equal "$(stat -c %g "$M/setgid/file")" 4242 "group of a file in a setgid directory"
equal "$(stat -c '%g %a' "$M/setgid/dir")" "4242 2755" "a directory in a setgid directory"

say "links"
ln -s ../some/where "$M/symlink"
equal "$(readlink "$M/symlink")" ../some/where "symlink"
ln -s f "$M/to-f"
equal "$(cat "$M/to-f")" new "content through a symlink"
long=$(printf 'x%.0s' $(seq 4000))
ln -s "$long" "$M/long-symlink"
equal "$(readlink "$M/long-symlink")" "$long" "a long symlink"
ln "$M/f" "$M/hard"
equal "$(stat -c '%h' "$M/f")" 2 "link count"
equal "$(stat -c '%i' "$M/f")" "$(stat -c '%i' "$M/hard")" "inode of a hard link"
echo through >"$M/hard"
equal "$(cat "$M/f")" through "content through a hard link"
rm "$M/hard"
equal "$(stat -c '%h' "$M/f")" 1 "link count after unlink"

say "special files"
mkfifo "$M/fifo"
equal "$(stat -c %F "$M/fifo")" fifo "type"
(echo through a fifo >"$M/fifo") &
equal "$(timeout 10 cat "$M/fifo")" "through a fifo" "the bytes from the fifo"
wait
"$TOOLS/fsop" socket "$M/socket"
equal "$(stat -c %F "$M/socket")" socket "type"
mknod "$M/null" c 1 3
equal "$(stat -c '%F %t:%T' "$M/null")" "character special file 1:3" "a device node"
says "Permission denied" cat "$M/null" # nodev

say "xattrs"
setfattr -n user.colour -v blue "$M/f"
equal "$(getfattr --only-values -n user.colour "$M/f")" blue "xattr"
says "File exists" "$TOOLS/fsop" xattr-create "$M/f" user.colour red
"$TOOLS/fsop" xattr-replace "$M/f" user.colour red
equal "$(getfattr --only-values -n user.colour "$M/f")" red "xattr"
says "No data" "$TOOLS/fsop" xattr-replace "$M/f" user.none red
setfattr -n user.empty -v "" "$M/f"
setfattr -n trusted.x -v 1 "$M/symlink" -h
equal "$(getfattr -d -m '^user\.[^c]|colour' "$M/f" 2>/dev/null | grep -c =)" 2 "number of xattrs"
setfattr -x user.colour "$M/f"
says "No such attribute" getfattr -n user.colour "$M/f"

say "rename"
echo 1 >"$M/one"
echo 2 >"$M/two"
says "File exists" "$TOOLS/fsop" rename-noreplace "$M/one" "$M/two"
"$TOOLS/fsop" rename-exchange "$M/one" "$M/two"
equal "$(cat "$M/one" "$M/two" | tr '\n' ' ')" "2 1 " "exchanged files"
mv -T "$M/one" "$M/two"
equal "$(cat "$M/two")" 2 "a file replaced by rename"
[ ! -e "$M/one" ] || fail "the old name is still there"
mkdir "$M/d1" "$M/d2" "$M/d1/sub"
says "Directory not empty" mv -T "$M/d2" "$M/d1"
mv -T "$M/d1" "$M/d2"
[ -d "$M/d2/sub" ] || fail "renamed directory is empty"
says "subdirectory of itself" mv "$M/d2" "$M/d2/sub/"
"$TOOLS/fsop" rename-exchange "$M/d2" "$M/two"
[ -d "$M/two/sub" ] && [ -f "$M/d2" ] || fail "a file and a directory were not exchanged"

say "exclusive creation, files that are removed while open"
"$TOOLS/fsop" create "$M/exclusive"
says "File exists" "$TOOLS/fsop" create "$M/exclusive"
"$TOOLS/fsop" unlinked "$M/unlinked"
says "No such file" cat "$M/none"
says "No such file" rm "$M/none"

say "permissions"
chmod 755 "$M"
echo secret >"$M/secret"
chmod 600 "$M/secret"
says "Permission denied" as_user 12345 cat "$M/secret"
says "Permission denied" as_user 12345 touch "$M/other"
says "Operation not permitted" as_user 12345 chmod 777 "$M/secret"

say "after a restart everything is there"
listing "$M" '%i %s %n %C@' >"$T/before"
(cd "$M" && find . -type f -print0 | sort -z | xargs -0 md5sum) >"$T/sums"
member_stop 1
[ -z "$(ls "${MNT[1]}")" ] || fail "something is below the mountpoint"
member_start 1
listing "$M" '%i %s %n %C@' >"$T/after"
diff "$T/before" "$T/after"
(cd "$M" && md5sum --quiet -c "$T/sums")
wait_leader >/dev/null
echo again >"$M/after the restart"
