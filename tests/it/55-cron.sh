#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The crontab of the README, by Debian's cron on three hosts: one run a period and no mail if all is
# well; a failure is mailed by one host; the next host runs what another could not.
#
# Each host is a network namespace, with cron in a mount and UTS namespace of its own: its tables,
# its spool, its /run, its sendmail and its host name are the test's. cron works by the minute.
# limit: 300
. "$(dirname "$0")/lib.sh"

need_fuse
need_network_namespace
need_tool cron
AT_END+=(stop_crons)
CRONS=()
HOSTS=() # mount namespaces
network_create 3
start_cluster 3
C=$BUILD/coordfs

# ---- The hosts -------------------------------------------------------------------------------------

mkdir -m 777 "$T/mail"
cp -a /usr/sbin "$T/sbin"
rm -f "$T/sbin/sendmail"
cat >"$T/sbin/sendmail" <<END
#!/bin/sh
cat >"\$(mktemp "$T/mail/\$(hostname).XXXXXX")"
END
chmod +x "$T/sbin/sendmail"

job() { # HOST NAME STATUS: a command that notes that it runs
	mkdir -p "$T/host-$1/bin"
	cat >"$T/host-$1/bin/$2" <<-END
		#!/bin/sh
		echo "\$COORDFS_PERIOD \$(hostname)" >>"$T/ran-$2"
		exit $3
	END
	chmod +x "$T/host-$1/bin/$2"
}

# The lines of the README, for a period of a minute and the mount of a host.
PRINTED=$(sed -n '/^    PATH=/,/^    0 /s/^    //p' "$SRC/README.md")
equal "$("$C" help once | sed -n '/^  PATH=/,/^  0 /s/^  //p')" "$PRINTED" "the crontab of 'coordfs help once'"

cron_host() { # HOST
	local dir=$T/host-$1 mount=${MNT[$1]}
	mkdir -p "$dir/cron.d" "$dir/spool/crontabs" "$dir/bin"
	: >"$dir/crontab"
	cp "$C" "$dir/bin/coordfs"
	job "$1" backup.sh 0
	job "$1" fails.sh 7
	[ "$1" != 3 ] || job 3 only-here.sh 0
	sed "s|^0 |* |; s|1h|1m|; s|/coord/|$mount/|" <<<"$PRINTED" >"$dir/cron.d/backup"
	cat >"$dir/cron.d/others" <<-END
		PATH=/usr/local/bin:/usr/bin:/bin
		* * * * * root coordfs once --every 1m --retry 2 --retry-delay 0.1 $mount/cron/tries -- fails.sh
		* * * * * root coordfs once --every 1m $mount/cron/only -- only-here.sh
	END
	cat >"$dir/cron.d/path" <<-END
		* * * * * root /usr/local/bin/coordfs once --every 1m --on-failure next-host $mount/cron/path -- backup.sh
	END
	nsenter --net="/run/netns/${NETNS[$1]}" unshare -m -u --propagation private bash -eu -c "
		hostname host-$1
		mount -t tmpfs tmpfs /run
		mount --bind '$dir/crontab' /etc/crontab
		mount --bind '$dir/cron.d' /etc/cron.d
		mount --bind '$dir/spool' /var/spool/cron
		mount --bind '$dir/bin' /usr/local/bin
		mount --bind '$T/sbin' /usr/sbin
		exec cron -f" >"$T/cron-$1" 2>&1 &
	CRONS+=($!)
}

stop_crons() {
	[ ${#CRONS[@]} = 0 ] || kill -KILL "${CRONS[@]}" 2>/dev/null || true
	CRONS=()
}

in_hosts() { # the processes of all hosts
	local ns pattern
	pattern=$(IFS='|' && echo "${HOSTS[*]}")
	for ns in /proc/[0-9]*/ns/mnt; do
		[[ $(readlink "$ns" 2>/dev/null || true) =~ ^($pattern)$ ]] && echo "$ns"
	done
	return 0
}

# ---- The test --------------------------------------------------------------------------------------

mkdir "${MNT[1]}/cron"
sync_mounts
for i in 1 2 3; do
	cron_host $i
done
is_cron() { [ "$(cat "/proc/$1/comm")" = cron ]; }
for pid in "${CRONS[@]}"; do
	until_true 10 is_cron "$pid"
	HOSTS+=("$(readlink "/proc/$pid/ns/mnt" | sed 's/[][]/\\&/g')")
done

say "cron runs, for two periods"
periods() { cut -d' ' -f1 "$T/ran-backup.sh" 2>/dev/null | sort -u | wc -l; }
two() { [ "$(periods)" -ge 2 ]; }
until_true 130 two
stop_crons
quiet() { [ -z "$(in_hosts)" ]; }
until_true 60 quiet

for i in 1 2 3; do
	[ ! -s "$T/cron-$i" ] || fail "cron of host $i: $(cat "$T/cron-$i")"
done

# counts FILE: the number of lines of each period, all different ones.
counts() { cut -d' ' -f1 "$1" | sort | uniq -c | awk '{ print $1 }' | sort -u | xargs; }
mails() { { grep -lE -- "$1" "$T/mail"/* || true; } | wc -l; }
n=$(periods)

equal "$(counts "$T/ran-backup.sh")" 1 "runs of the README's job in a period"
equal "$(mails '/cron/backup')" 0 "mails of the README's job"
equal "$(counts "$T/ran-only-here.sh")" 1 "runs of a job that only host 3 has"
equal "$(cut -d' ' -f2 "$T/ran-only-here.sh" | sort -u)" host-3 "where it ran"
equal "$(counts "$T/ran-fails.sh")" 3 "tries of a job that fails"
equal "$(sort -u "$T/ran-fails.sh" | wc -l)" "$n" "hosts that tried it, one a period"
equal "$(mails 'period [0-9]+: the command failed on host-. with exit status 7 \(3 tries\)')" "$n" "mails of the failure"
equal "$(mails '/cron/path: period .* exit status 127')" $((3 * n)) "mails of hosts that do not find the command"
equal "$(mails 'backup.sh: No such file or directory: not found in PATH \(/usr/bin:/bin\): .*PATH=')" $((3 * n)) "mails with the remedy"
# What else is there was told by hosts 1 and 2 about the job that they do not have.
others=$(ls "$T/mail" | wc -l)
equal "$others" $((n + 3 * n + $(mails '/cron/only: period .* exit status 127'))) "mails"
equal "$(mails 'failed on host-3 with exit status 127.*/cron/only')" 0 "mails of host 3"
result "$n periods: one run of the README's job each, no mail; $others mails of failures"
