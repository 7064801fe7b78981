#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# limit: 300
# Changes on one host raise the same inotify events on another host that a process there would
# raise: each kind of change, compared with a local filesystem; then random changes, while the other
# host reads and makes changes itself.
#
#   MIRROR_N=1000 MIRROR_SEEDS="1 2"   random changes per seed
#   MIRROR_NOISE=3                     processes that read and write on the other host meanwhile
#   MIRROR_ONLY=1                      only the random changes, not each kind of change
. "$(dirname "$0")/lib.sh"

N_RANDOM=${MIRROR_N:-1000}
SEEDS=${MIRROR_SEEDS:-1 2}
NOISE=${MIRROR_NOISE:-3}

need_fuse
start_cluster 3
A=${MNT[$(wait_leader)]} B_NUMBER=$(a_follower)
B=${MNT[$B_NUMBER]}
equal "$(st "$B_NUMBER" .mirror.on)" true "mirror"

mkdir "$T/local"
mount -t tmpfs tmpfs "$T/local"
cases=0

unmount_local() { umount "$T/local"; }
AT_END+=(unmount_local)

# watch_begin OUT PATH…: starts a watcher (pid in $CHILD) and waits until it watches.
watch_begin() {
	: >"$T/ready"
	background "$TOOLS/inotify" watch "$@" >"$T/ready"
	until_true 60 grep -q ready "$T/ready"
}

# events OUT CHANGED WATCHED WATCH… -- COMMAND…: runs the command in the directory CHANGED; the
# watches are in the directory WATCHED.
events() {
	local out=$1 changed=$2 watched=$3 paths=()
	shift 3
	while [ "$1" != -- ]; do
		paths+=("$watched/$1")
		shift
	done
	shift
	watch_begin "$out" "$watched" "${paths[@]}"
	(cd "$changed" && eval "$*") >/dev/null || fail "in $changed: $*"
	: >"$changed/.end"
	wait "$CHILD" || fail "the watcher of '$*' has not seen the end; it saw: $(cat "$out")"
}

# same NAME SETUP WATCHES CHANGE [EVENTS]: as on a local filesystem, or these EVENTS (separated by
# ;).
same() {
	local name=$1 setup=$2 watches=$3 change=$4
	local dir=case-$((cases += 1)) d
	for d in "$A" "$T/local"; do
		mkdir "$d/$dir"
		(cd "$d/$dir" && eval "$setup")
	done
	"$BUILD/coordfs" sync "$B"
	# shellcheck disable=SC2086 # words
	events "$T/remote-events" "$A/$dir" "$B/$dir" $watches -- "$change"
	if [ $# -gt 4 ]; then
		tr ';' '\n' <<<"$5" >"$T/local-events"
	else
		# shellcheck disable=SC2086
		events "$T/local-events" "$T/local/$dir" "$T/local/$dir" $watches -- "$change"
	fi
	diff "$T/local-events" "$T/remote-events" >"$T/diff" || fail "$name: < expected > seen: $(cat "$T/diff")"
	[ -s "$T/remote-events" ] || fail "$name: no events at all"
}

each_kind() {
	say "each kind of change, seen by watches on directories and on files"
	same "create empty" '' '' 'mknod f p; mknod g p'
	same "create with content" '' '' 'echo x >f'
	same "create, a watch on the parent's parent" 'mkdir s' 's' 'echo x >s/f'
	same "append" 'echo x >f' 'f' 'echo y >>f'
	same "overwrite is one change" 'echo x >f' 'f' 'echo y >f' \
		'0 OPEN f;1 OPEN -;0 MODIFY f;1 MODIFY -;0 CLOSE_WRITE f;1 CLOSE_WRITE -'
	same "truncate" 'echo x >f' 'f' 'truncate -s 0 f'
	same "an empty file is emptied" ': >f' 'f' ': >f' \
		'0 OPEN f;1 OPEN -;0 MODIFY f;1 MODIFY -;0 CLOSE_WRITE f;1 CLOSE_WRITE -'
	same "truncate an empty file" ': >f' 'f' 'truncate -s 0 f'
	same "truncate to the same size" 'echo x >f' 'f' 'truncate -s 2 f'
	same "the mode that it has" 'echo x >f; chmod 644 f' 'f' 'chmod 644 f'
	same "the value that it has" 'echo x >f; setfattr -n user.a -v b f' 'f' 'setfattr -n user.a -v b f'
	same "grow" 'echo x >f' 'f' 'truncate -s 100 f'
	same "fallocate" 'echo x >f' 'f' 'fallocate -l 100 f'
	same "mkdir" '' '' 'mkdir d'
	same "mkdir below" 'mkdir d' 'd' 'mkdir d/e'
	same "symlink" '' '' 'ln -s nowhere l'
	same "fifo" '' '' 'mkfifo p'
	same "device" '' '' 'mknod b b 7 0'
	same "socket" '' '' "$TOOLS/fsop socket s" '0 CREATE s'
	same "link" 'echo x >f; mkdir d' 'f d' 'ln f g; ln f d/h'
	same "chmod" 'echo x >f; mkdir d' 'f d' 'chmod 600 f; chmod 700 d'
	same "chown" 'echo x >f; ln -s f l' 'f l' 'chown 12:34 f; chown -h 12:34 l'
	same "times" 'echo x >f; ln -s f l' 'f l' 'touch -h -d 2001-01-01 f; touch -h -d 2001-01-01 l'
	same "xattr" 'echo x >f; mkdir d' 'f d' 'setfattr -n user.a -v b f; setfattr -n user.a -v b d; setfattr -x user.a f'
	same "unlink" 'echo x >f' 'f' 'unlink f'
	same "unlink a fifo" 'mkfifo f' 'f' 'unlink f'
	same "unlink a symlink" 'ln -s x f' 'f' 'unlink f'
	same "unlink one of two names" 'echo x >f; ln f g' 'f' 'unlink g; unlink f'
	same "unlink a file that no process has read" 'mkdir d; echo x >d/f' '' 'unlink d/f; rmdir d'
	same "rmdir" 'mkdir d' 'd' 'rmdir d'
	same "rename" 'echo x >f' 'f' 'mv f g'
	same "rename over a file" 'echo x >f; echo y >g' 'f g' 'mv f g'
	same "rename over a file without a watch" 'echo x >f; echo y >g' '' 'mv f g'
	same "rename to another directory" 'echo x >f; mkdir d' 'f d' 'mv f d/g'
	same "rename out of a watched directory" 'echo x >f; mkdir d' 'd' 'mv f d/f; mv d/f f'
	same "rename a directory" 'mkdir d e' 'd e' 'mv -T d e/d'
	same "rename a directory over another" 'mkdir d e' 'd e' 'mv -T d e'
	same "rename, no replacing" 'echo x >f' 'f' "$TOOLS/fsop rename-noreplace f g"
	same "exchange" 'echo x >f; echo y >g; mkdir d' 'f g d' "$TOOLS/fsop rename-exchange f g; $TOOLS/fsop rename-exchange f d"
	same "the usual replacing" 'echo x >f' 'f' 'echo y >tmp; mv tmp f'
	same "many at once" 'mkdir d' 'd' 'for i in $(seq 50); do echo $i >f$i; mv f$i d/f$i; echo more >>d/f$i; rm d/f$i; done'
	same "the tree below is made and removed" '' '' 'mkdir -p a/b/c; echo x >a/b/c/f; rm a/b/c/f; rmdir -p a/b/c'
	result "$cases kinds of change: events as on a local filesystem"

	say "times stay as the writer set them"
	echo x >"$A/times"
	touch -d '2001-02-03 04:05:06' "$A/times"
	"$BUILD/coordfs" sync "$B"
	before=$(stat -c '%Y %X %Z' "$B/times")
	events "$T/remote-events" "$A" "$B" times -- 'chmod 600 times'
	equal "$(stat -c '%Y %X' "$B/times")" "$(stat -c '%Y %X' "$A/times")" "times on both"
	equal "$(stat -c '%Y %X' "$B/times")" "${before% *}" "times before and after"

	say "after an event, a process sees the change"
	mkdir "$A/fresh"
	echo 0 >"$A/fresh/n"
	"$BUILD/coordfs" sync "$B"
	cat "$B/fresh/n" >/dev/null
	background inotifywait -q -m -e close_write --format %f "$B/fresh" >"$T/seen"
	until_true 60 bash -c "echo probe >'$A/fresh/probe'; sleep 0.1; test -s '$T/seen'"
	seen=0
	for i in $(seq 200); do
		lines=$(wc -l <"$T/seen")
		echo "$i" >"$A/fresh/n"
		until [ "$(wc -l <"$T/seen")" -gt "$lines" ]; do :; done
		got=$(cat "$B/fresh/n")
		[ "$got" -ge "$i" ] || fail "after the event of $i, $got was read"
		seen=$((seen + 1))
	done
	equal "$seen" 200 "events"
}

[ -n "${MIRROR_ONLY:-}" ] || each_kind

# Sorted by directory: while a local change locks one directory, the events of the others continue.
by_directory() {
	LC_ALL=C sort -s -n -k 1,1 "$1"
}

same_streams() { # WHAT EXPECTED SEEN
	cmp -s "$2" "$3" || fail "$1: < expected > seen: $(diff "$2" "$3" | head -n 20 || true)" \
		"mirror: $(st "$B_NUMBER" .mirror)"
}

# random SEED NOISE
random() {
	local seed=$1 dir=random-$1-$2 watcher noise=() f i
	mkdir -p "$A/$dir"/d{0,1,2,3}
	"$BUILD/coordfs" sync "$B"
	watch_begin "$T/random-events" "$B/$dir"/d{0,1,2,3}
	watcher=$CHILD
	[ "$2" = quiet ] || {
		for ((i = 0; i < NOISE; i++)); do
			background "$TOOLS/inotify" noise "$seed$i" "$B/$dir"
			noise+=("$CHILD")
		done
	}
	"$TOOLS/inotify" random "$seed" "$N_RANDOM" "$A/$dir" "$T/expected"
	"$BUILD/coordfs" sync "$B"
	: >"$A/$dir/d0/.end"
	wait "$watcher" || fail "the watcher did not see the end"
	for i in "${noise[@]}"; do
		kill "$i"
		wait "$i" 2>/dev/null || true
	done
	"$TOOLS/inotify" pick <"$T/random-events" >"$T/picked"
	# The renames of the noise have numbers, too.
	for f in picked expected; do
		sed -E 's/(MOVED_.* n[0-9]+) [0-9]+$/\1/' "$T/$f" >"$T/$f-plain"
		by_directory "$T/$f-plain" >"$T/$f-sorted"
	done
	same_streams "seed $seed, $2" "$T/expected-sorted" "$T/picked-sorted"
	[ "$2" != quiet ] || same_streams "seed $seed, $2" "$T/expected-plain" "$T/picked-plain"
	awk '/MOVED_FROM/ { from = $NF } /MOVED_TO/ && $NF != from { exit 1 }' "$T/picked" ||
		fail "the two halves of a rename have different cookies"
	"$BUILD/coordfs" sync "$B"
	"$BUILD/coordfs" sync "$A"
	same_trees "$A/$dir" "$B/$dir" '%i %s %n %C@'
	result "seed $seed, $2: $(wc -l <"$T/expected") events exactly as expected; mirror: $(st "$B_NUMBER" '.mirror | "\(.done) done, \(.refused) refused, \(.missed) missed"')"
}

for seed in $SEEDS; do
	say "seed $seed: $N_RANDOM random changes"
	random "$seed" quiet
	say "the same, while the other host reads and makes changes"
	random "$seed" noisy
done
equal "$(st "$B_NUMBER" .mirror.missed)" 0 "changes that were not made known"
