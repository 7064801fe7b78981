#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Programs that do not know coordfs notice changes of another host: inotifywait, entr, Python's
# watchdog, Node's chokidar, incron, dnsmasq.
. "$(dirname "$0")/lib.sh"

need_fuse
need_tool inotifywait entr dnsmasq python3 incrond node
/usr/bin/python3 -c 'import watchdog' 2>/dev/null || skip "python3-watchdog is not installed"
export NODE_PATH=/usr/share/nodejs # where Debian's packages are, for any node
node -e 'require("chokidar")' 2>/dev/null || skip "node-chokidar is not installed"
start_cluster 3
A=${MNT[$(wait_leader)]} B=${MNT[$(a_follower)]}
mkdir "$A/d" "$A/hosts" "$A/tree" "$A/node" "$A/jobs"
echo one >"$A/d/config"
"$BUILD/coordfs" sync "$B"

uses_inotify() { grep -qs '^inotify wd' /proc/"$1"/fdinfo/*; }
says() { grep -q -- "$1" "$2"; }

say "inotifywait, waiting for one event"
background inotifywait -e close_write "$B/d/config" >"$T/inotifywait" 2>"$T/inotifywait-log"
until_true 60 says established "$T/inotifywait-log"
echo two >"$A/d/config"
wait "$CHILD"
matches "$(cat "$T/inotifywait")" 'config CLOSE_WRITE' "inotifywait"

say "entr runs a command with the new content"
echo "$B/d/config" >"$T/list"
background bash -c "exec entr -n cat '$B/d/config' <'$T/list' >'$T/entr' 2>&1"
until_true 60 says two "$T/entr"
# entr ignores changes while its command runs.
again() { eval "$1" && sleep 0.3 && says "$2" "$3"; }
until_true 60 again "echo three >'$A/d/config'" three "$T/entr"
until_true 60 again "echo four >'$A/d/tmp' && mv '$A/d/tmp' '$A/d/config'" four "$T/entr"
kill "$CHILD"

say "Python's watchdog"
cat >"$T/watch.py" <<'END'
import sys, time
from watchdog.observers.inotify import InotifyObserver
from watchdog.events import FileSystemEventHandler

class Handler(FileSystemEventHandler):
    def on_any_event(self, event):
        print(event.event_type, event.src_path, getattr(event, "dest_path", ""))

observer = InotifyObserver()
observer.schedule(Handler(), sys.argv[1], recursive=True)
observer.start()
print("ready")
time.sleep(600)
END
background /usr/bin/python3 -u "$T/watch.py" "$B/tree" >"$T/watchdog"
WATCHDOG=$CHILD
until_true 60 says ready "$T/watchdog"
mkdir "$A/tree/sub"
until_true 60 says "created $B/tree/sub" "$T/watchdog"
echo x >"$A/tree/sub/f"
until_true 60 says "closed $B/tree/sub/f" "$T/watchdog"
mv "$A/tree/sub/f" "$A/tree/g"
until_true 60 says "moved $B/tree/sub/f $B/tree/g" "$T/watchdog"
rm "$A/tree/g"
until_true 60 says "deleted $B/tree/g" "$T/watchdog"
kill "$WATCHDOG"

say "Node's chokidar"
cat >"$T/watch.js" <<'END'
const watcher = require('chokidar').watch(process.argv[2], { usePolling: false });
for (const event of ['add', 'addDir', 'change', 'unlink', 'unlinkDir'])
	watcher.on(event, (path) => console.log(event + ' ' + path));
watcher.on('ready', () => console.log('ready'));
END
background node "$T/watch.js" "$B/node" >"$T/chokidar"
CHOKIDAR=$CHILD
until_true 60 says '^ready' "$T/chokidar"
uses_inotify "$CHOKIDAR" || fail "it does not use inotify"
mkdir "$A/node/sub"
until_true 60 says "^addDir $B/node/sub\$" "$T/chokidar"
echo x >"$A/node/sub/f"
until_true 60 says "^add $B/node/sub/f\$" "$T/chokidar"
# chokidar ignores a change that comes too soon after the last one.
until_true 60 again "echo more >>'$A/node/sub/f'" "^change $B/node/sub/f\$" "$T/chokidar"
mv "$A/node/sub/f" "$A/node/g"
until_true 60 says "^unlink $B/node/sub/f\$" "$T/chokidar"
until_true 60 says "^add $B/node/g\$" "$T/chokidar"
rm -r "$A/node/g" "$A/node/sub"
until_true 60 says "^unlink $B/node/g\$" "$T/chokidar"
until_true 60 says "^unlinkDir $B/node/sub\$" "$T/chokidar"
kill "$CHOKIDAR"

say "incron starts a command for each file that arrives"
mkdir "$T/incron.d" "$T/incron-users" "$T/incron-run"
cat >"$T/incron.conf" <<END
system_table_dir = $T/incron.d
user_table_dir = $T/incron-users
lockfile_dir = $T/incron-run
END
printf '#!/bin/sh\necho "$1 $(cat "$2/$1")" >>"%s"\n' "$T/incron" >"$T/on-job"
chmod 755 "$T/on-job"
echo "$B/jobs IN_CLOSE_WRITE,IN_MOVED_TO $T/on-job \$# \$@" >"$T/incron.d/jobs"
background incrond --foreground --config="$T/incron.conf"
INCRON=$CHILD
until_true 60 uses_inotify "$INCRON"
: >"$T/incron"
# When incron has one watch, it may still be setting up the others.
until_true 60 again "echo probe >'$A/jobs/probe'" '^probe probe' "$T/incron"
echo one >"$A/jobs/written"
until_true 60 says '^written one' "$T/incron"
echo two >"$A/jobs/.tmp"
mv "$A/jobs/.tmp" "$A/jobs/moved"
until_true 60 says '^moved two' "$T/incron"
kill "$INCRON"

say "dnsmasq --hostsdir answers for a host that was added on another machine"
DNS=$(address 10)
background dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --user=root \
	--group=root --listen-address="$DNS" --bind-interfaces --port=5300 --hostsdir="$B/hosts" \
	--pid-file="$T/dnsmasq.pid" --log-facility="$T/dnsmasq-log"
until_true 60 test -s "$T/dnsmasq-log"
resolves() { # NAME ADDRESS
	[ "$(/usr/bin/python3 - "$1" "$DNS" <<'END'
import socket, struct, sys
name, server = sys.argv[1:]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(2)
q = struct.pack(">6H", 1, 0x100, 1, 0, 0, 0)
q += b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0" + struct.pack(">2H", 1, 1)
s.sendto(q, (server, 5300))
r = s.recv(512)
print(".".join(map(str, r[-4:])) if struct.unpack(">H", r[6:8])[0] else "-")
END
	)" = "$2" ]
}
echo "10.9.8.7 first.test" >"$A/hosts/first"
until_true 60 resolves first.test 10.9.8.7
echo "10.9.8.6 second.test" >"$A/hosts/tmp"
mv "$A/hosts/tmp" "$A/hosts/second"
until_true 60 resolves second.test 10.9.8.6
