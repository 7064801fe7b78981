#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 240
# The feed of changes: the same lines in the same order on every mount, while leaders are killed,
# and resumed after a kill -9 without a gap; the lines agree with the tree; lost changes; blocking,
# polling, interrupted and slow readers; the log.
. "$(dirname "$0")/lib.sh"

KILLS=${FEED_KILLS:-3}
HERE=$(cd "$(dirname "$0")" && pwd)

need_fuse
need_tool python3 setfattr
start_cluster 3
W=$BUILD/coordfs

# ---- Following while members die -----------------------------------------------------------------

say "a follower and a writer on each mount, and $KILLS kills of the leader"
mkdir "$T/feeds"
followers=() writers=()
for i in 1 2 3; do
	python3 "$HERE/feed_follow.py" "${MNT[$i]}" "$T/feeds/$i" >"$T/resumed-$i" &
	followers+=($!)
	CHILDREN+=($!)
done
for i in 1 2 3; do
	python3 "$HERE/feed_write.py" "${MNT[$i]}" $i "$T" &
	writers+=($!)
	CHILDREN+=($!)
done
total() { cat "$T"/count-* | awk '{ sum += $1 } END { print sum + 0 }'; }
progress() {
	local want=$(($(total) + $1))
	reached() { [ "$(total)" -ge "$want" ]; }
	until_true 60 reached
}
until_true 30 test -s "$T/count-1" -a -s "$T/count-2" -a -s "$T/count-3"
killed=()
for ((n = 1; n <= KILLS; n++)); do
	progress 10
	leader=$(wait_leader)
	member_kill "$leader"
	killed+=("$leader")
	progress 10
	member_start "$leader"
done
progress 10
touch "$T/enough"
wait "${writers[@]}"
wait_equal
last() { "$W" watch --recursive --json --since 0 --timeout 300ms "${MNT[1]}" | tail -n 1 | jq .index; }
index=$(last || true)
echo "$index" >"$T/feeds/stop.new"
mv "$T/feeds/stop.new" "$T/feeds/stop"
for pid in "${followers[@]}"; do
	wait "$pid" || fail "a follower failed"
done
for i in 1 2 3; do
	exits 4 "$W" watch --recursive --json --since 0 --timeout 500ms "${MNT[$i]}"
	printf '%s\n' "$OUT" >"$T/all-$i"
	cmp "$T/all-$i" "$T/all-1" || fail "the histories of members 1 and $i differ"
	cmp "$T/feeds/$i" "$T/all-$i" || fail "the feed of mount $i differs from its history"
done
equal "$(sort -c -n <(jq .index "$T/all-1") 2>&1)" "" "the order of indexes"
for i in "${killed[@]}"; do
	[ "$(cat "$T/resumed-$i")" -gt 0 ] || fail "the follower of member $i was never interrupted"
done
result "$(wc -l <"$T/all-1") changes, $KILLS kills of the leader (${killed[*]}), the same on three mounts"

say "the tree can be computed from the feed"
python3 - "$T/all-1" <<'PY' >"$T/told"
import json, sys
tree = {}
for line in open(sys.argv[1]):
    c = json.loads(line)
    op, path, new = c["op"], c["path"], c.get("new_path")
    if op in ("create", "link"):
        assert path not in tree, c
        tree[path] = c["ino"]
    elif op in ("unlink", "rmdir"):
        assert tree.pop(path) == c["ino"], c
        assert op == "unlink" or not [p for p in tree if p.startswith(path + "/")], c
    elif op == "rename":
        assert tree[path] == c["ino"], c
        tree.pop(new, None)
        for p in [p for p in tree if p == path or p.startswith(path + "/")]:
            tree[new + p[len(path):]] = tree.pop(p)
    elif path is not None and path != "/":
        assert tree[path] == c["ino"], c
for path in sorted(tree):
    print(path, tree[path])
PY
(cd "${MNT[2]}" && find . -mindepth 1 -printf '/%P %i\n' | LC_ALL=C sort) >"$T/found"
LC_ALL=C sort "$T/told" | diff - "$T/found" || fail "the computed tree differs from the tree"

# ---- Selection and the command line --------------------------------------------------------------

say "selection of paths, of lines, and of the first line"
M=${MNT[1]}
mkdir -p "$M/a/b"
begin=$(cat "$M/.coordfs/index")
echo 1 >"$M/a/file"
echo 2 >"$M/a/b/file"
mv "$M/a/b/file" "$M/outside"
mkdir "${MNT[2]}/other"
"$W" sync "$M"
ops() { sed 's/^[0-9]* //' | tr '\n' ';'; }
exits 4 "$W" watch --since "$begin" -t 300ms "$M/a"
equal "$(ops <<<"$OUT")" "create /a/file;data /a/file;" "a directory"
exits 4 "$W" watch -r -s "$begin" -t 300ms "$M/a"
equal "$(ops <<<"$OUT")" \
	"create /a/file;data /a/file;create /a/b/file;data /a/b/file;rename /a/b/file -> /outside;" "all below it"
exits 4 "$W" watch -s "$begin" -t 300ms "$M/outside" "$M/other"
equal "$(ops <<<"$OUT")" "rename /a/b/file -> /outside;create /other;" "two paths"
middle=$("$W" watch -r -s "$begin" -t 300ms "$M/a" | sed -n 2p | cut -d ' ' -f 1) || true
exits 4 "$W" watch -r -s "$middle" -t 300ms "$M/a"
equal "$(ops <<<"$OUT")" "create /a/b/file;data /a/b/file;rename /a/b/file -> /outside;" "since the second"
exits 0 "$W" watch -r -s "$begin" --once "$M"
equal "$(ops <<<"$OUT")" "create /a/file;" "once"
exits 4 "$W" watch -t 100ms "$M"
equal "$OUT" "" "from now on"
exits 2 "$W" watch
exits 2 "$W" watch --since x "$M"
exits 2 "$W" watch "$M" "${MNT[2]}"
exits 1 "$W" watch /proc
one_line 'not in a mounted coordfs'
exits 1 "$W" watch "$M/none/none"

say "changes of other hosts as they happen, also for paths that do not exist yet"
"$W" watch --once "$M/later" >"$T/once" &
CHILDREN+=($!)
pid=$!
sleep 0.3
echo x >"${MNT[3]}/elsewhere"
echo x >"${MNT[3]}/later"
wait "$pid"
equal "$(ops <"$T/once")" "create /later;" "a file that another host made"

# ---- Ways to read --------------------------------------------------------------------------------

say "blocking, polling, not blocking, interrupting"
python3 - "$M" "${MNT[2]}" "$W" <<'PY'
import errno, json, os, select, signal, subprocess, sys, threading, time
m, other, coordfs = sys.argv[1:]
events = m + "/.coordfs/events"

fd = os.open(events, os.O_RDONLY | os.O_NONBLOCK)
try:
    os.read(fd, 100)
    sys.exit("a read that does not block found something")
except BlockingIOError:
    pass
p = select.epoll()
p.register(fd, select.EPOLLIN)
assert p.poll(0.1) == [], "ready without a change"
open(other + "/polled", "w").close()
assert p.poll(60), "epoll does not wake up"
assert json.loads(os.read(fd, 4096))["path"] == "/polled"
assert p.poll(0) == [], "still ready"
r, _, _ = select.select([fd], [], [], 0)
assert not r

# Byte by byte, as a shell's read does.
open(other + "/bytes", "w").close()
assert p.poll(60)
line = b""
while not line.endswith(b"\n"):
    line += os.read(fd, 1)
assert json.loads(line)["path"] == "/bytes", line
os.close(fd)

# A signal ends a blocked read immediately, with any handler.
fd = os.open(events, os.O_RDONLY)
class Interrupted(Exception):
    pass
def on_alarm(*_):
    raise Interrupted
signal.signal(signal.SIGALRM, on_alarm)
signal.setitimer(signal.ITIMER_REAL, 0.3)
try:
    os.read(fd, 100)
    sys.exit("a read that blocks found something")
except Interrupted:
    pass
# The feed continues afterwards.
threading.Timer(0.3, lambda: open(other + "/after", "w").close()).start()
assert json.loads(os.read(fd, 4096))["path"] == "/after"

for s in (signal.SIGINT, signal.SIGKILL):
    cat = subprocess.Popen(["cat", events])
    time.sleep(0.3)
    cat.send_signal(s)
    assert cat.wait(30) == -s
watch = subprocess.Popen([coordfs, "watch", m])
time.sleep(0.3)
watch.send_signal(signal.SIGINT)
assert watch.wait(30) == -signal.SIGINT
try:
    os.lseek(fd, 0, os.SEEK_SET)
    sys.exit("events can be sought")
except OSError as e:
    assert e.errno == errno.ESPIPE
PY
timeout 20 bash -c 'while read -r line; do echo "$line"; break; done' <"$M/.coordfs/events" >"$T/shell" &
CHILDREN+=($!)
pid=$!
sleep 0.3
touch "${MNT[2]}/for-the-shell"
wait "$pid"
equal "$(jq -r .path "$T/shell")" /for-the-shell "the line that a shell has read"

say "a slow reader delays no other process, and misses nothing"
python3 - "$M" "${MNT[2]}" <<'PY'
import json, os, sys
m, other = sys.argv[1:]
slow = [os.open(m + "/.coordfs/events", os.O_RDONLY | os.O_NONBLOCK) for _ in range(20)]
for i in range(1000):
    os.mkdir((other + "/slow1") if i % 2 else (m + "/slow0"))
    os.rmdir((other + "/slow1") if i % 2 else (m + "/slow0"))
fd = os.open(m, os.O_RDONLY)
os.fsync(fd)
for s in slow:
    seen = b""
    while True:
        try:
            seen += os.read(s, 65536)
        except BlockingIOError:
            break
    ops = [json.loads(line)["op"] for line in seen.splitlines()]
    assert ops == ["create", "rmdir"] * 1000, len(ops)
PY

# ---- The log -------------------------------------------------------------------------------------

say "the log: a file that only grows"
L=$M/.coordfs/log
exits 4 "$W" watch --recursive --json --since 0 --timeout 300ms "$M"
cmp "$L" <(printf '%s\n' "$OUT") || fail "the log differs from the history"
equal "$(stat -c %s "$L")" "$((${#OUT} + 1))" "its size"
equal "$(tail -c 1000 "$L" | tail -n 3)" "$(tail -n 3 <<<"$OUT")" "its end"
tail -n 0 -f "$L" >"$T/tailed" &
CHILDREN+=($!)
pid=$!
sleep 1
for i in 1 2 3; do
	mkdir "${MNT[2]}/tail-$i"
done
tailed() { [ "$(wc -l <"$T/tailed")" = 3 ]; }
until_true 30 tailed
equal "$(jq -r .path "$T/tailed" | tr '\n' ' ')" "/tail-1 /tail-2 /tail-3 " "the output of tail -f"
kill "$pid"

# ---- Too old -------------------------------------------------------------------------------------

say "an index that is too old: one error, and no line"
python3 - "$M" <<'PY'
import errno, json, os, sys
m = sys.argv[1]
slow = os.open(m + "/.coordfs/events", os.O_RDONLY | os.O_NONBLOCK)
log = os.open(m + "/.coordfs/log", os.O_RDONLY)
before = os.pread(log, 1 << 20, 0)
os.setxattr(m, "user.coordfs.history", b"100")
for i in range(2000):
    os.mkdir(m + "/x")
    os.rmdir(m + "/x")
data = os.read(slow, 4096)
error = json.loads(data)
assert error["error"] == "compacted" and error["oldest"] > 0, data
for _ in range(2):
    try:
        os.read(slow, 4096)
        sys.exit("the feed continues after a gap")
    except OSError as e:
        assert e.errno == errno.ESTALE
now = os.pread(log, 1 << 24, 0)
assert len(now) > len(before)
lines = now.lstrip(b"\n").splitlines()
assert 100 <= len(lines) < 200, len(lines)
for line in lines:
    json.loads(line)
assert now.endswith(b"\n")
PY
exits 3 "$W" watch --since 1 "$M"
one_line '^coordfs: compacted, oldest is [0-9]+: read the tree again'
oldest=$(sed -n 's,.*oldest is \([0-9]*\).*,\1,p' <<<"$ERR")
exits 4 "$W" watch -r --since "$oldest" -t 300ms "$M"
matches "$(wc -l <<<"$OUT")" '^1[0-9][0-9]$|^99$' "changes that are kept"
wait_equal
for i in 2 3; do
	exits 4 "$W" watch -r --since "$oldest" -t 300ms "${MNT[$i]}"
	printf '%s\n' "$OUT" >"$T/kept-$i"
done
cmp "$T/kept-2" "$T/kept-3"
# Deleted rows leave space for new ones: the table no longer grows.
setfattr -x user.coordfs.history "$M"
