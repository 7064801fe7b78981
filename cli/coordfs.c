/* SPDX-License-Identifier: Apache-2.0 */
/* coordfs: the command line. */
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "cli/cli.h"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *usage;
    const char *help;
    const char *details; /* may be NULL */
} commands[] = {
    {"status", cli_status, "status [--json] MOUNT|NAME|STATEDIR", "show what a member knows", NULL},
    {"sync", cli_sync, "sync PATH", "wait for all that was committed before",
     "When it returns, this host shows everything that was committed on any host before the call."},
    {"check", cli_check, "check STATEDIR|FILE", "verify a stopped member's database", NULL},
    {"stat", cli_stat, "stat [--json] [--hash] PATH...", "show versions, indexes, life times",
     "--json  print one JSON object per line\n"
     "--hash  print XXH3-64 of the content too, as 'check PATH hash' of txn compares it"},
    {"create", cli_create, "create [OPTION...] PATH", "create an entry, print its name",
     "-s, --sequential       append the directory's next number, which is never used again\n"
     "--ephemeral[=session]  remove the entry when this host's session ends\n"
     "--ephemeral=open       remove the entry when no process of this host has it open\n"
     "-d, --directory        create a directory, not a file\n"
     "-m, --mode MODE        permissions in octal, before the umask (0666, directories 0777)"},
    {"put", cli_put, "put [--if-version N | --if-absent] PATH",
     "replace the content by standard input",
     "Writes all of standard input (up to 1 MiB) or nothing. Exit status 3: the version differs,\n"
     "or PATH exists."},
    {"get", cli_get, "get [--if-version N] [--version] PATH", "print the content, or its version",
     "All of the output belongs to one version. To change a file by its content: get the version,\n"
     "then the content, then put --if-version. Exit status 3: the version differs."},
    {"rm", cli_rm, "rm [--if-version N] PATH", "remove a file",
     "Exit status 3: the version differs."},
    {"txn", cli_txn, "txn [-C DIRECTORY]", "run steps from standard input, or none",
     "Each line is a step. All steps are done, or none; prints one line per step. Exit status 3:\n"
     "a check does not hold; 2: a line is not a valid step; 1: another failure.\n"
     "  check PATH exists|absent|locked|version N|cversion N|aversion N|hash XXH3\n"
     "  put|append PATH CONTENT [mode=M] [sequential] [ephemeral=session|open]\n"
     "  create PATH [mode=M] [sequential] [ephemeral=...]    mkdir PATH [MODE] [sequential] [...]\n"
     "  symlink TARGET PATH   ln EXISTING NEW   mv OLD NEW [noreplace|exchange]\n"
     "  rm PATH   rmdir PATH   setxattr PATH NAME VALUE   rmxattr PATH NAME\n"
     "  setattr PATH mode M|uid N|gid N|size N|mtime now|SECONDS|atime ... (several pairs)\n"
     "Quote words as in a shell; \"...\" also knows \\n, \\t, \\0 and \\xHH. If the last word of "
     "a\n"
     "line is <<END, the lines up to END are the word. # begins a comment. Symbolic links are not\n"
     "followed."},
    {"lock", cli_lock, "lock [OPTION...] PATH [--] COMMAND...", "run a command under a lock",
     "-s, --shared               take a shared lock\n"
     "-n, --nonblock             fail if the lock is taken\n"
     "-w, --wait TIME            wait at most this long\n"
     "-E, --conflict-exit-code N exit status if the lock is not obtained (1)\n"
     "-o, --close                do not pass the lock's descriptor to the command\n"
     "-k, --grace TIME           time from SIGTERM to SIGKILL if the lock is lost (5s)\n"
     "PATH is created if it does not exist. The environment of the command has COORDFS_LOCK "
     "(PATH)\n"
     "and COORDFS_FENCE (the fencing token). The lock is released when the command ends. Exit\n"
     "status: the command's; 128 and the number of the signal that killed it; 75: the lock was\n"
     "lost and the command was stopped."},
    {"elect", cli_elect, "elect [OPTION...] PATH [--] COMMAND...",
     "run a command on one leading host",
     "-i, --id ID       content of PATH while this host leads (default: its name)\n"
     "--once            if the lead is lost, exit with status 75 and do not wait again\n"
     "-k, --grace TIME  time from SIGTERM to SIGKILL if the lead is lost (5s)\n"
     "Environment and exit status: as for lock; COORDFS_ID is the ID."},
    {"once", cli_once, "once --every TIME [OPTION...] PATH [--] COMMAND...",
     "run a command on one host per period",
     "-e, --every TIME     the period: 90s, 10m, 1h, 1d\n"
     "-w, --within TIME    wait at most this long for a host that runs it now (the period)\n"
     "-r, --retry N        if the command fails, run it here up to N times more (0)\n"
     "--retry-delay TIME   time between two tries (1s)\n"
     "--on-failure done    if the command fails here, the period is done (default)\n"
     "--on-failure next-host  ... another host that asks for the period runs it\n"
     "-q, --quiet, -v, --verbose  print nothing, or print which host has run it, if this host "
     "does\n"
     "                     not run it (default: -v on a terminal, else -q)\n"
     "-i, --id ID          name of this host in the record (default: its name)\n"
     "-k, --grace TIME     time from SIGTERM to SIGKILL if the lock is lost (5s)\n"
     "--status             print which host ran it last (once --status PATH)\n"
     "The file PATH records the runs; it is created if it does not exist. COORDFS_PERIOD is the\n"
     "number of the period; periods are counted in UTC. If the host dies before the command ends,\n"
     "another host runs it again. A host that cannot execute the command (exit status 126 or 127)\n"
     "leaves it to the next host, with --on-failure done too. A host tries a period once.\n"
     "Put this into /etc/cron.d/backup on all hosts; cron's own PATH has no /usr/local/bin:\n"
     "  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
     "  0 * * * * root coordfs once --every 1h --on-failure next-host /coord/cron/backup "
     "backup.sh\n"
     "Messages come from one host only, so cron sends one mail: a failure is told by the host "
     "that\n"
     "ran the command, a skipped period by the first host that gave up.\n"
     "Exit status:\n"
     "  the command's      it ran here; 128 and the number of the signal that killed it; 126, "
     "127:\n"
     "                     it could not be executed\n"
     "  0                  another host has run it or runs it, or this host has failed before\n"
     "  1                  the period is skipped, or PATH cannot be locked or read\n"
     "  2                  wrong usage, or PATH was used with another period\n"
     "  75                 the lock was lost: another host runs the command again"},
    {"hold", cli_hold, "hold [OPTION...] PATH [--] COMMAND...",
     "keep an entry while a command runs",
     "-c, --content TEXT  content of the entry\n"
     "-k, --grace TIME    time from SIGTERM to SIGKILL if the entry is lost (5s)\n"
     "The entry is ephemeral: it is also removed when this host dies. Exit status: the command's;\n"
     "3: PATH exists; 75: the entry was lost and the command was stopped."},
    {"watch", cli_watch, "watch [OPTION...] PATH...", "print changes made by all hosts",
     "-r, --recursive     also print changes below the entries of PATH\n"
     "-s, --since INDEX   begin with the changes after this raft index (of the last line seen)\n"
     "-j, --json          print objects instead of lines \"INDEX OP PATH [-> NEW]\"\n"
     "-1, --once          exit after the first change\n"
     "-t, --timeout TIME  exit with status 4 if there is no change for this long\n"
     "Exit status 3: the changes after INDEX are no longer kept (user.coordfs.history of the "
     "root):\n"
     "read the tree again. For root only."},
    {"locks", cli_locks, "locks [--json] [MOUNT]", "list holders and waiters of locks", NULL},
    {"sessions", cli_sessions, "sessions [--json] [MOUNT]", "list the sessions of all hosts", NULL},
};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
    return NULL;
}

static int help(void)
{
    puts("Usage:");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        printf("  coordfs %-50s %s\n", commands[i].usage, commands[i].help);
    puts("  coordfs --version\n"
         "'coordfs help COMMAND' and 'coordfs COMMAND --help' explain one command.");
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}

static int help_of(const struct command *c)
{
    printf("Usage: coordfs %s\n%s.\n", c->usage, c->help);
    if (c->details != NULL)
        printf("\n%s\n", c->details);
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}

static int version(void)
{
    puts("coordfs " COORDFS_VERSION);
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}

static int unknown(const char *name)
{
    return cli_fail(CLI_USAGE, "unknown command '%s': 'coordfs help' lists the commands", name);
}

static bool asks_for_help(const char *argument)
{
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

int main(int argc, char **argv)
{
    const struct command *c;
    int status;

    if (argc < 2)
        return cli_fail(CLI_USAGE, "a command is missing: 'coordfs help' lists the commands");
    if (strcmp(argv[1], "--version") == 0)
        return version();
    if (strcmp(argv[1], "help") == 0 && argc == 3) {
        c = find_command(argv[2]);
        return c != NULL ? help_of(c) : unknown(argv[2]);
    }
    if (strcmp(argv[1], "help") == 0 || asks_for_help(argv[1]))
        return help();
    c = find_command(argv[1]);
    if (c == NULL)
        return unknown(argv[1]);
    if (argc > 2 && asks_for_help(argv[2]))
        return help_of(c);
    status = c->run(argc - 1, argv + 1);
    if (status == CLI_SHOW_USAGE)
        return cli_fail(CLI_USAGE, "usage: coordfs %s", c->usage);
    return status;
}
