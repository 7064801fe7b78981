#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# alone: a slow program's output is committed in several steps, and the entries are counted
# limit: 240
# The table of commands, tests/shell/commands.tbl: the number of log entries that each makes, the
# states that a reader on another host sees meanwhile, and the command's error if there is no
# quorum.
#
# Usage by hand: 15-shell.sh [REGEX]     only the rows that match
. "$(dirname "$0")/lib.sh"

need_fuse
TABLE=$SRC/tests/shell/commands.tbl
ONLY=${1:-.}
TIMEOUT_S=2
OLD="the old content, which is longer than some of the new"
export BIG=$T/outside/in
export LC_ALL=C HOME=$T GIT_CONFIG_GLOBAL=$T/gitconfig
export PATH=/usr/bin:/bin:/usr/sbin:/sbin # no wrappers, which would also open the file

# ---- The table -----------------------------------------------------------------------------------

ENTRIES=() SEEN=() QUORUM=() SHELL_OF=() COMMAND=()

has_programs() { # NEEDS: 1 if an optional one is missing
	local program
	for program in ${1//,/ }; do
		[ "$program" != - ] || continue
		command -v "${program%\?}" >/dev/null || {
			[ "${program%\?}" != "$program" ] || fail "$program is not installed (make deps)"
			say "left out: ${program%\?} is not installed"
			return 1
		}
	done
}

read_table() {
	local entries seen quorum shell needs command
	while read -r entries seen quorum shell needs command; do
		case $entries in '' | '#'*) continue ;; esac
		grep -Eq -- "$ONLY" <<<"$command" || continue
		has_programs "$needs" || continue
		ENTRIES+=("$entries") SEEN+=("$seen") QUORUM+=("$quorum")
		SHELL_OF+=("$shell") COMMAND+=("$command")
	done <"$TABLE"
	[ ${#COMMAND[@]} -gt 0 ] || fail "no rows"
}

# Makes the files for each command. f exists if SEEN has an o, or is only n or -.
prepare() { # DIRECTORY ROW
	mkdir "$1"
	cp "$BIG" "$1/in"
	: >"$1/empty"
	case ${SEEN[$2]} in
	*o* | n | -) echo "$OLD" >"$1/f" ;;
	esac
}

# Only the contents: other tests check times and owners.
state_of() { # DIRECTORY: everything below, as text
	(
		cd "$1"
		find . -path ./.git -prune -o -printf '%P %y %m %U %G %n %l\n' |
			sed 's/name\.[^ ]*/name.XXXXXX/' | sort
		find . -path ./.git -prune -o -type f -size +0 -print | sed 's/name\..*//' | sort | xargs -r sha1sum
	)
}

# ---- With a quorum -------------------------------------------------------------------------------

# The index that the writing member has applied, when no change is in progress.
settled() { # into INDEX
	INDEX=$(st "$WRITER" 'select(.commit == .applied) | .applied')
	[ -n "$INDEX" ]
}

within() { # NUMBER N|N-M|-
	[ "$2" = - ] || { [ "$1" -ge "${2%-*}" ] && [ "$1" -le "${2#*-}" ]; }
}

bad() { # ROW WHAT
	say "row $1, ${SHELL_OF[$1]} -c '${COMMAND[$1]}': $2"
	BAD=$((BAD + 1))
}

copy_or_none() { # FILE COPY
	if [ -e "$1" ]; then cp "$1" "$2"; else rm -f "$2"; fi
}

# Runs the command on a local filesystem, and records the state of f before and after it.
run_reference() { # ROW; the exit code into WANT
	local dir=$T/ref/$1
	prepare "$dir" "$1"
	copy_or_none "$dir/f" "$T/old"
	WANT=0
	env -C "$dir" "${SHELL_OF[$1]}" -c "${COMMAND[$1]}" >"$T/out" 2>&1 </dev/null || WANT=$?
	copy_or_none "$dir/f" "$T/new"
}

# Commands of a session between two indexes, because the leader also reaps the files of earlier
# rows.
commands_between() { # SESSION FROM TO
	local session
	session=$(printf '%016X' "$1" | fold -w 2 | tac | tr -d '\n')
	sqlite3 -readonly "${STATE[$WRITER]}/coordfs.db" "SELECT count(*) FROM log
		WHERE idx > $2 AND idx <= $3 AND hex(substr(data, 9, 8)) = '$session'"
}

# No other process reads meanwhile: unlinking a file that is open makes one more entry. Counts again
# if the host got another session meanwhile.
count_entries() { # ROW
	local row=$1 dir before session
	for dir in "$A/count/$row" "$A/count/$row-again" "$A/count/$row-last"; do
		prepare "$dir" "$row"
		until_true 20 settled
		before=$INDEX
		session=$(st "$WRITER" .session)
		env -C "$dir" "${SHELL_OF[row]}" -c "${COMMAND[row]}" >"$T/out" 2>&1 </dev/null || true
		until_true 20 settled
		[ "$(st "$WRITER" .session)" != "$session" ] || break
	done
	commands_between "$session" "$before" "$INDEX"
}

check_row() { # ROW
	local row=$1 made seen looks rc
	local dir=$A/with/$row shown=$B/with/$row
	run_reference "$row"
	prepare "$dir" "$row"
	"$BUILD/coordfs" sync "$B"
	read -r seen looks rc <<<"$("$TOOLS/watch" "$shown/f" "$T/old" "$T/new" \
		env -C "$dir" "${SHELL_OF[row]}" -c "${COMMAND[row]}")"
	made=$(count_entries "$row")
	LOOKS=$((LOOKS + looks))
	[ -z "${VERBOSE:-}" ] || say "$made ${ENTRIES[row]}, $seen ${SEEN[row]}, exit code $rc, $looks looks: ${COMMAND[row]}"
	[ "$rc" = "$WANT" ] || bad "$row" "exit code $rc, and $WANT elsewhere: $(cat "$T/out")"
	within "$made" "${ENTRIES[row]}" || bad "$row" "$made entries instead of ${ENTRIES[row]}"
	[ "${SEEN[row]}" = - ] || [ -z "$(tr -d "${SEEN[row]}n" <<<"$seen")" ] || bad "$row" "seen: $seen, allowed: ${SEEN[row]}"
	[ "${SEEN[row]}" = - ] || [ -n "$(tr -cd n <<<"$seen")" ] || bad "$row" "the new content never came: $seen"
	diff <(state_of "$T/ref/$row") <(state_of "$dir") >"$T/diff" || bad "$row" "the result differs: $(cat "$T/diff")"
}

# ---- Without a quorum ----------------------------------------------------------------------------

no_leader() { [ "$(st "$WRITER" '.leader == 0 and (.quorum | not)')" = true ]; }

start_lonely() { # ROW: in the background
	local row=$1 patience=30
	[ "${QUORUM[row]}" != w ] || patience=$((TIMEOUT_S + 3))
	timeout -k 5 $patience env -C "$A/without/$row" "${SHELL_OF[row]}" -c "${COMMAND[row]}" \
		>"$T/lonely-$row" 2>&1 </dev/null &
	CHILDREN+=($!)
	LONELY[row]=$!
}

end_lonely() { # ROW
	local row=$1 rc=0
	wait "${LONELY[row]}" || rc=$?
	[ -z "${VERBOSE:-}" ] || say "exit code $rc, ${QUORUM[row]}: ${COMMAND[row]}"
	case ${QUORUM[row]} in
	0) [ $rc = 0 ] || bad "$row" "exit code $rc without a quorum: $(cat "$T/lonely-$row")" ;;
	1) [ $rc != 0 ] && [ $rc != 124 ] || bad "$row" "exit code $rc without a quorum, and no error" ;;
	w) [ $rc = 124 ] || bad "$row" "exit code $rc instead of waiting: $(cat "$T/lonely-$row")" ;;
	esac
}

# A change that timed out may have been committed later: wholly or not at all.
check_left() { # ROW
	local row=$1
	local f=$A/without/$row/f
	case ${SEEN[row]} in
	on) cmp -s "$f" "$T/old" || cmp -s "$f" "$T/ref/$row/f" || bad "$row" "left behind: $(head -c 100 "$f")" ;;
	aen) [ ! -s "$f" ] || cmp -s "$f" "$T/ref/$row/f" || bad "$row" "left behind: $(head -c 100 "$f")" ;;
	esac
}

# ---- For curl and wget ---------------------------------------------------------------------------

# Answers every request with the file.
serve_http() { # FILE; the address into URL
	background python3 -c 'import socket, sys
s = socket.create_server(("127.0.0.1", 0))
open(sys.argv[2], "w").write("http://127.0.0.1:%d/\n" % s.getsockname()[1])
body = open(sys.argv[1], "rb").read()
while True:
    c, _ = s.accept()
    c.recv(65536)
    c.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    c.close()' "$1" "$T/url"
	until_true 20 [ -s "$T/url" ]
	URL=$(cat "$T/url")
	export URL
}

# ---- The test ------------------------------------------------------------------------------------

read_table
ROWS=$(seq 0 $((${#COMMAND[@]} - 1)))
BAD=0
LOOKS=0
LONELY=()
mkdir -p "$T/outside"
local_disk "$T/ref"
seq -f 'line %08.0f: some text, the same in each' 10000 >"$BIG"

serve_http "$BIG"
start_cluster 3 --timeout $TIMEOUT_S
WRITER=$(a_follower)
A=${MNT[$WRITER]}
B=${MNT[$(wait_leader)]}
mkdir "$A/with" "$A/count" "$A/without"

say "${#COMMAND[@]} commands: entries, and the states that another host sees"
for row in $ROWS; do
	check_row "$row"
done

say "the same without a quorum"
for row in $ROWS; do
	prepare "$A/without/$row" "$row"
done
echo "$OLD" >"$T/old"
wait_equal
OTHERS=()
for i in 1 2 3; do
	[ "$i" = "$WRITER" ] || OTHERS+=("$i")
done
for i in "${OTHERS[@]}"; do
	member_kill "$i"
done
until_true 30 no_leader
for row in $ROWS; do
	start_lonely "$row"
done
for row in $ROWS; do
	end_lonely "$row"
done

say "the files that they leave"
members_start "${OTHERS[@]}"
wait_leader >/dev/null
wait_equal
for row in $ROWS; do
	check_left "$row"
done
[ $BAD = 0 ] || fail "$BAD deviations"
result "${#COMMAND[@]} commands, $LOOKS looks from another host"
