#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 200
# A file that a process uses without a name (open, by O_PATH, as working directory, running,
# mounted) keeps working after this host or another one has removed or replaced its last name. It
# disappears from the cluster when no process uses it any more.
. "$(dirname "$0")/lib.sh"

need_fuse
need_mount_namespace
need_tool python3
start_cluster 3
A=${MNT[$(wait_leader)]}
B=${MNT[$(a_follower)]}

# The bind mounts are in this namespace, so none is left behind in any case.
held() {
	mkdir -p "$T/bound"
	timeout $((60 * WAIT_FACTOR)) unshare -m --propagation slave python3 "$SRC/tests/it/held.py" "$@" "$T/bound" ||
		fail "a file without a name does not work as on a local filesystem, see above"
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
# Once a second the leader looks for files that no host uses.
say "in use on the leader's host"
held "$A" "$B" 4
say "in use on another host"
held "$B" "$A" 4
until_true 30 reaped "$before"
result "every kind of use works without a name, on both hosts, and the file is reaped afterwards"
