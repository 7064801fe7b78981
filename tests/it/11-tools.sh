#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 120
# Common programs: editors, git, databases, archivers. Through two mounts where it matters.
. "$(dirname "$0")/lib.sh"

need_fuse
need_tool git rsync sqlite3 tar flock python3
start_cluster 3
A=${MNT[$(wait_leader)]}
B=${MNT[$(a_follower)]}
export HOME=$T GIT_CONFIG_GLOBAL=$T/gitconfig

say "cp -a, install, mv, sed -i, tee, dd, sort -o"
mkdir "$A/tools"
cd "$A/tools"
cp -a "$SRC/base" base
diff -r "$SRC/base" base
install -m 640 -o 11 -g 22 "$SRC/Makefile" Makefile
equal "$(stat -c '%a %u %g' Makefile)" "640 11 22" "install"
install -m 600 "$SRC/Makefile" Makefile
sed -i 's/all/ALL/g' Makefile
sed 's/all/ALL/g' "$SRC/Makefile" | cmp - Makefile
seq 20000 | tee numbers >/dev/null
shuf -o numbers numbers
sort -n -o numbers numbers
seq 20000 | cmp - numbers
dd if=numbers of=copy bs=1000 conv=fsync status=none
cmp numbers copy
mv copy moved
mv moved "$T/outside" && mv "$T/outside" back
cmp numbers back
awk '{ s += $1 } END { print s }' numbers >sum
equal "$(cat sum)" 200010000 "awk"
gzip -k numbers
gzip -dc numbers.gz | cmp - numbers
split -l 1000 numbers part-
cat part-* | cmp - numbers
find . -name 'part-*' -delete
cat /proc/self/mountinfo >virtual
[ -s virtual ] || fail "a copied virtual file is empty"

say "tar, rsync (twice, --inplace, --delete), ACLs"
tar cf t.tar -C "$SRC" base proto
mkdir untarred
tar xpf t.tar -C untarred
diff -r "$SRC/base" untarred/base
rsync -a "$SRC/proto/" synced/
diff -r "$SRC/proto" synced
equal "$(rsync -ai "$SRC/proto/" synced/)" "" "a second rsync"
echo more >synced/more
rsync -a --delete --inplace --checksum "$SRC/proto/" synced/
diff -r "$SRC/proto" synced
rsync -a synced/ "$B/tools/from-the-other-side/"
diff -r "$SRC/proto" "$B/tools/from-the-other-side"

say "git"
git config --global user.name nobody
git config --global user.email nobody@localhost
git config --global --add safe.directory '*'
git init -q repo
cp -r base repo/
(
	cd repo
	git add .
	git commit -qm first
	git checkout -qb branch
	echo x >>base/log.c
	git commit -qam second
	git checkout -q -
	git merge -q branch
	git gc -q
	git fsck --full --strict
	[ -z "$(git status --porcelain)" ] || fail "git status: $(git status --porcelain)"
)
"$BUILD/coordfs" sync "$B"
git -C "$B/tools/repo" fsck --full --strict
git clone -q "$B/tools/repo" "$T/clone"
diff -r -x .git repo "$T/clone"
equal "$(git -C "$B/tools/repo" log --oneline | wc -l)" 2 "commits"

say "sqlite3 with a rollback journal"
for mode in delete truncate persist; do
	equal "$(sqlite3 data.db "pragma journal_mode=$mode" | head -n 1)" $mode "journal mode"
	sqlite3 data.db 'create table if not exists t(a); begin; insert into t values (1),(2),(3); commit;
		begin; insert into t values (4); rollback;'
done
equal "$(sqlite3 data.db 'pragma integrity_check; select count(*) from t')" $'ok\n9' "the database"
"$BUILD/coordfs" sync "$B"
equal "$(sqlite3 -readonly "$B/tools/data.db" 'pragma integrity_check; select sum(a) from t')" $'ok\n18' \
	"the database on the other side"

say "flock between processes of one host"
: >lock
for i in 1 2 3 4; do
	(
		for _ in $(seq 25); do
			flock lock sh -c 'n=$(cat counter 2>/dev/null || echo 0); echo $((n + 1)) >counter'
		done
	) &
done
wait
equal "$(cat counter)" 100 "a counter under flock"
exec 8>lock
flock 8
rc=0
flock -n lock true || rc=$?
equal "$rc" 1 "flock -n of a held lock"
rc=0
flock -w 0.3 lock true || rc=$?
equal "$rc" 1 "flock -w of a held lock"
exec 8>&-
flock -n lock true

say "vim, also with a backup and a swap file in the mount"
vim=$(command -v vim || command -v vim.tiny) || skip "vim is not installed"
printf 'one\ntwo\n' >text
"$vim" -es -u NONE -c 'set directory=. backup writebackup backupskip=' -c '%s/two/three/' -c wq text
equal "$(tr '\n' ' ' <text)" "one three " "text"
equal "$(tr '\n' ' ' <text~)" "one two " "the backup"

say "python: buffered, appended, locked, renamed, walked"
python3 - "$A/tools/py" <<'END'
import fcntl, os, shutil, sys, tempfile
top = sys.argv[1]
os.makedirs(top + '/a/b')
with open(top + '/x', 'w') as f:
    f.write('y' * 300000)
assert os.path.getsize(top + '/x') == 300000
with open(top + '/x', 'r+b') as f:
    f.seek(100); f.write(b'middle'); f.flush(); os.fsync(f.fileno())
    f.seek(98); assert f.read(10) == b'yymiddleyy'
with open(top + '/x', 'ab') as f:
    f.write(b'end')
assert open(top + '/x', 'rb').read()[-4:] == b'yend'
with open(top + '/l', 'w') as f:
    fcntl.lockf(f, fcntl.LOCK_EX)
with tempfile.NamedTemporaryFile(dir=top, delete=False) as f:
    f.write(b'atomic')
os.replace(f.name, top + '/x')
assert open(top + '/x').read() == 'atomic'
assert sorted(os.listdir(top)) == ['a', 'l', 'x']
shutil.rmtree(top)
END

cd /
say "the members agree"
wait_equal
same_mounts
