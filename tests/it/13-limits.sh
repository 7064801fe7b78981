#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Limits give the errno of a local filesystem, and change nothing.
. "$(dirname "$0")/lib.sh"

need_fuse
need_tool python3
start_cluster 3
for M in "${MNT[$(wait_leader)]}" "${MNT[$(a_follower)]}"; do
	say "in $M"
	name255=$(printf 'n%.0s' $(seq 255))
	touch "$M/$name255"
	says "File name too long" touch "$M/x$name255"
	says "File name too long" mkdir "$M/x$name255"
	says "File name too long" mv "$M/$name255" "$M/y$name255"
	says "File name too long" ln -s x "$M/z$name255"
	rm "$M/$name255"

	max=$(st 1 .limits.file)
	"$TOOLS/fsop" write "$M/large" $((max - 10)) 10
	equal "$(stat -c %s "$M/large")" "$max" "the largest file"
	says "File too large" "$TOOLS/fsop" write "$M/large" "$max" 1
	says "short write" "$TOOLS/fsop" write "$M/large" $((max - 5)) 10 # what has room, as on ext4
	says "File too large" "$TOOLS/fsop" append "$M/large" x 1
	says "File too large" truncate -s $((max + 1)) "$M/large"
	says "File too large" "$TOOLS/fsop" write "$M/large" $((1 << 40)) 1
	equal "$(stat -c %s "$M/large")" "$max" "the size after all that"
	rm "$M/large"

	echo >"$M/x"
	value=$(head -c 65536 /dev/zero | tr '\0' v)
	setfattr -n user.big -v "${value:0:65000}" "$M/x"
	equal "$(getfattr --only-values -n user.big "$M/x" | wc -c)" 65000 "a large xattr"
	says "Argument list too long" python3 -c \
		'import os, sys; os.setxattr(sys.argv[1], "user.big", b"v" * 65537)' "$M/x"
	equal "$(getfattr --only-values -n user.big "$M/x" | wc -c)" 65000 "the xattr after that"
	says "range" python3 -c \
		'import os, sys; os.setxattr(sys.argv[1], "user." + "n" * 251, b"v")' "$M/x"
	says "not supported" setfattr -n nonsense.x -v 1 "$M/x"
	rm "$M/x"

	target=$(printf 't%.0s' $(seq 4095))
	ln -s "$target" "$M/link"
	equal "$(readlink "$M/link")" "$target" "the longest symlink"
	rm "$M/link"
	says "File name too long" ln -s "${target}t" "$M/link"
	says "Too many levels" sh -c 'ln -s loop "$1/loop"; cat "$1/loop"' - "$M"
	rm "$M/loop"

	mkdir "$M/dir"
	says "Operation not permitted" python3 -c 'import os, sys; os.link(*sys.argv[1:])' "$M/dir" "$M/hard"
	says "busy" rmdir "$M"
	rmdir "$M/dir"
	says "Invalid" python3 -c 'import os, sys; os.truncate(sys.argv[1], -1)' "$M"
	equal "$(find "$M" | wc -l)" 1 "entries at the end"
	"$BUILD/coordfs" sync "$M"
done
wait_equal
