#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A user who may write an entry but not remove it cannot end it by an attribute. A user who may
# write a directory cannot remove root's quota or block root by one.
. "$(dirname "$0")/lib.sh"

need_fuse
need_tool setfattr setpriv
start_cluster 2
M=${MNT[1]} O=${MNT[2]}
other() { as_user 65534 "$@"; }
mark() { other setfattr -n "user.coordfs.$2" -v "$3" "$1"; }

say "a user may write an entry, but not its directory"
mkdir -m 755 "$M/conf"
echo v >"$M/conf/app"
chmod 666 "$M/conf/app"
mkdir -m 777 "$M/conf/sub"
says "Permission denied" mark "$M/conf/app" ttl 1
says "Permission denied" mark "$M/conf/app" ephemeral open
says "Permission denied" mark "$M/conf/app" ephemeral session
says "Permission denied" mark "$M/conf/sub" container 1
says "Permission denied" mark "$M/conf/sub" ttl 1
exits 1 other "$BUILD/coordfs" txn -C "$M" <<<'setxattr conf/app user.coordfs.ttl 1'
other cat "$M/conf/app" >/dev/null
other touch "$M/conf/sub/x"
other rm "$M/conf/sub/x"

say "a user who may remove an entry may end it"
mkdir -m 777 "$M/open"
other touch "$M/open/mine"
mark "$M/open/mine" ttl 1
gone_from() { [ ! -e "$1" ]; }
until_true 30 gone_from "$M/open/mine"
[ -e "$M/conf/app" ] && [ -d "$M/conf/sub" ] || fail "an entry was removed"

say "a supplementary group counts"
mkdir -m 775 "$M/team"
chgrp 4711 "$M/team"
echo v >"$M/team/f"
chmod 666 "$M/team/f"
says "Permission denied" mark "$M/team/f" ttl 1000
setpriv --reuid 65534 --regid 65534 --groups 4711 setfattr -n user.coordfs.ttl -v 1000 "$M/team/f"

say "quotas and guards"
mkdir -m 777 "$M/shared"
: >"$M/lock"
says "not permitted" mark "$M/shared" quota.bytes 1
says "not permitted" mark "$M/shared" guard /lock
setfattr -n user.coordfs.quota.entries -v 5 "$M/shared"
says "not permitted" other setfattr -x user.coordfs.quota.entries "$M/shared"
chown 65534 "$M/shared"
says "not permitted" other setfattr -x user.coordfs.quota.entries "$M/shared"
says "not permitted" mark "$M/shared" quota.entries 6
mark "$M/shared" quota.entries 4
"$BUILD/coordfs" sync "$O"
equal "$(getfattr --absolute-names --only-values -n user.coordfs.quota.entries "$O/shared")" 4 "quota"
wait_equal
