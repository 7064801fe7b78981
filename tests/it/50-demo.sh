#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make demo, twice, and make demo-stop, as a new user runs them, in a directory of this test.
. "$(dirname "$0")/lib.sh"

need_fuse
need_tool python3
D="$T/de mo"
DEMO_ADDRESS=$(address 1)
DEMO_PORT=7431 # not the default
export DEMO_ADDRESS DEMO_PORT
demo() { "$SRC/tools/demo.sh" "$1" "$BUILD" "$D" "${@:2}"; }

# Nothing may be left running in any case.
stop_demo() { demo stop >/dev/null 2>&1 || true; }
AT_END+=(stop_demo)

say "start"
exits 0 demo start
matches "$OUT" "echo hello > .*de mo/1/greeting" "the suggested commands"
for i in 1 2 3; do
	mounted "$D/$i" || fail "$D/$i is not mounted"
done
echo hello >"$D/1/greeting"
exits 0 "$BUILD/coordfs" sync "$D/3"
equal "$(cat "$D/3/greeting")" hello "the greeting in mount 3"
before=$(cat "$D"/state-*/coordfsd.pid)

say "start again: nothing changes"
exits 0 demo start
matches "$OUT" "is running already" "the second start"
equal "$(cat "$D"/state-*/coordfsd.pid)" "$before" "the pids"

say "one member is killed: start starts it again"
pid=$(cat "$D/state-2/coordfsd.pid")
kill -KILL "$pid"
until_true 20 gone "$pid"
exits 0 demo start
equal "$(cat "$D/2/greeting")" hello "the greeting in mount 2"

say "stop; the data stay"
exits 0 demo stop
for i in 1 2 3; do
	not_mounted "$D/$i" || fail "$D/$i is still mounted"
done
exits 0 demo stop
matches "$OUT" "no member runs" "a second stop"
exits 0 demo start
equal "$(cat "$D/1/greeting")" hello "the greeting after a restart of everything"
exits 0 demo stop
for i in 1 2 3; do
	exits 0 "$BUILD/coordfs" check "$D/state-$i"
done

say "a port that is in use: a clear message, nothing left"
D=$T/other
python3 -c '
import socket, sys, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[1], int(sys.argv[2]))); s.listen(); time.sleep(600)' "$DEMO_ADDRESS" $((DEMO_PORT + 1)) &
CHILDREN+=($!)
listens() { (exec 3<>"/dev/tcp/$DEMO_ADDRESS/$((DEMO_PORT + 1))") 2>/dev/null; }
until_true 20 listens
exits 1 demo start
one_line "port $((DEMO_PORT + 1)) is in use"
! compgen -G "$D/state-*/coordfsd.pid" >/dev/null || fail "a member was started in spite of the error"

say "purge"
D="$T/de mo"
exits 0 demo stop --purge
[ ! -e "$D" ] || fail "$D still exists"
