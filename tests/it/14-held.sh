#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 200
# What a process holds without a name (open, by O_PATH, as working directory, running, mounted) goes on
# working when this host or another one has removed or replaced its last name; and it is gone from the
# cluster when nobody holds it any more.
. "$(dirname "$0")/lib.sh"

need_fuse
need_mount_namespace
need_tool python3
start_cluster 3
A=${MNT[$(wait_leader)]}
B=${MNT[$(a_follower)]}

# The namespace is where the bind mounts are: none is left behind, whatever happens.
held() {
	mkdir -p "$T/bound"
	timeout $((60 * WAIT_FACTOR)) unshare -m --propagation slave python3 "$SRC/tests/it/held.py" "$@" "$T/bound" ||
		fail "what is held does not work as on a local filesystem, see above"
	rm -r "$T/bound"
}

used_inodes() { df --output=iused "$A" | tail -n 1; }
reaped() { [ "$(used_inodes)" = "$1" ]; }

say "on a local filesystem"
mkdir "$T/local"
truncate -s 64M "$T/image"
mkfs.ext4 -q -F "$T/image"
mount -o loop "$T/image" "$T/local"
unmount_local() { umount "$T/local"; }
AT_END+=(unmount_local)
held "$T/local" "$T/local" 0

before=$(used_inodes)
# The leader looks for what nobody holds once a second.
say "held on the leader's host"
held "$A" "$B" 4
say "held on another host"
held "$B" "$A" 4
until_true 30 reaped "$before"
result "everything that can be held works without a name, on both hosts, and is reaped when it is let go"
