/* SPDX-License-Identifier: Apache-2.0 */
/* coordfs: the command line. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *usage;
    const char *help;
    const char *details; /* NULL: nothing more to say */
} commands[] = {
    {"status", cli_status, "status [--json] MOUNT|NAME|STATEDIR", "what a member knows", NULL},
    {"sync", cli_sync, "sync PATH", "wait until this host has everything committed anywhere", NULL},
    {"check", cli_check, "check STATEDIR|FILE", "verify the database of a stopped member", NULL},
    {"stat", cli_stat, "stat [--json] [--hash] PATH...", "versions, indexes, life time of entries",
     "--json  one object a line\n"
     "--hash  also XXH3-64 of files' content, as 'check PATH hash' of txn compares it"},
    {"create", cli_create, "create [OPTION...] PATH", "make an entry, print its name",
     "-s, --sequential           append the directory's next number, which is never given again\n"
     "--ephemeral[=session]      it goes with this host's session\n"
     "--ephemeral=open           it goes when nobody on this host has it open\n"
     "-d, --directory            a directory instead of a file\n"
     "-m, --mode MODE            permissions in octal, less the umask (0666, 0777)"},
    {"put", cli_put, "put [--if-version N | --if-absent] PATH",
     "standard input becomes the content",
     "All or nothing, up to 1 MiB. Exit status 3: the version is another, or PATH exists."},
    {"get", cli_get, "get [--if-version N] [--version] PATH", "print the content, or its version",
     "What is printed is of one version. For a change that depends on it, ask for the version\n"
     "first, then for the content, and put it --if-version. Exit status 3: another version."},
    {"rm", cli_rm, "rm [--if-version N] PATH", "remove a file, if it is of that version",
     "Exit status 3: the version is another."},
    {"txn", cli_txn, "txn [-C DIRECTORY]", "several steps from standard input, all or none",
     "One step a line; prints a line a step. Exit status 3: a condition does not hold; 2: the "
     "text\n"
     "is none. In both cases, and in all other failures, nothing was done.\n"
     "  check PATH exists|absent|locked|version N|cversion N|aversion N|hash XXH3\n"
     "  put|append PATH CONTENT [mode=M] [sequential] [ephemeral=session|open]\n"
     "  create PATH [mode=M] [sequential] [ephemeral=...]    mkdir PATH [MODE] [sequential] [...]\n"
     "  symlink TARGET PATH   ln EXISTING NEW   mv OLD NEW [noreplace|exchange]\n"
     "  rm PATH   rmdir PATH   setxattr PATH NAME VALUE   rmxattr PATH NAME\n"
     "  setattr PATH mode M|uid N|gid N|size N|mtime now|SECONDS|atime ... (several pairs)\n"
     "Words may be quoted as in a shell; \"...\" knows \\n, \\t, \\0 and \\xHH. A last word <<END\n"
     "stands for the lines up to END. # begins a comment. Symbolic links are not followed."},
    {"lock", cli_lock, "lock [OPTION...] PATH [--] COMMAND...", "run a command under a lock",
     "-s, --shared               others may share the lock\n"
     "-n, --nonblock             do not wait for it\n"
     "-w, --wait TIME            do not wait for longer\n"
     "-E, --conflict-exit-code N the exit status if it was not to be had (1)\n"
     "-o, --close                the command does not inherit the lock's descriptor\n"
     "-k, --grace TIME           between SIGTERM and SIGKILL when the lock is lost (5s)\n"
     "PATH is made if need be. The command finds COORDFS_LOCK (PATH) and COORDFS_FENCE (the\n"
     "fencing token) in its environment. The lock is given up when the command ends. Exit status:\n"
     "the command's; 128 and the number of the signal that killed it; 75 when the lock was lost."},
    {"elect", cli_elect, "elect [OPTION...] PATH [--] COMMAND...", "run a command while leading",
     "-i, --id ID       what PATH contains while this one leads (the host's name)\n"
     "--once            end when the lead is lost, with exit status 75, instead of waiting again\n"
     "-k, --grace TIME  between SIGTERM and SIGKILL when the lead is lost (5s)\n"
     "Environment and exit status are as those of lock, and COORDFS_ID."},
    {"once", cli_once, "once --every TIME [OPTION...] PATH [--] COMMAND...",
     "run a command on one host a period",
     "-e, --every TIME   the period: 90s, 10m, 1h, 1d\n"
     "-w, --within TIME  how long to wait for a host that is running it (the period)\n"
     "-q, --quiet        do not say who has run it\n"
     "-i, --id ID        who ran it, for the record (the host's name)\n"
     "-k, --grace TIME   between SIGTERM and SIGKILL when the lock is lost (5s)\n"
     "--status           say who ran it last (once --status PATH)\n"
     "PATH is a file that keeps what was run; it is made if need be. To be started on all hosts,\n"
     "by cron for example. The command finds its period's number in COORDFS_PERIOD. It is run\n"
     "again, by another host, if its host dies before it has ended. Exit status: the command's;\n"
     "0 if another host has run it; 1 if it is still being run; 75 when the lock was lost."},
    {"hold", cli_hold, "hold [OPTION...] PATH [--] COMMAND...",
     "an entry that lives as long as a command",
     "-c, --content TEXT  what it contains\n"
     "-k, --grace TIME    between SIGTERM and SIGKILL when the entry is gone (5s)\n"
     "The entry is ephemeral: it goes when this host dies, too. Exit status: the command's; 3 if\n"
     "PATH exists; 75 when the entry was lost."},
    {"watch", cli_watch, "watch [OPTION...] PATH...", "follow changes, from all hosts",
     "-r, --recursive       also what is below the entries of PATH\n"
     "-s, --since INDEX     first all changes after this raft index (that of the last line seen)\n"
     "-j, --json            objects instead of lines \"INDEX OP PATH [-> NEW]\"\n"
     "-1, --once            end after the first\n"
     "-t, --timeout TIME    end when there was none for so long: exit status 4\n"
     "Exit status 3: the changes after INDEX are not kept any more (user.coordfs.history of the\n"
     "root); what the tree is now has to be looked at instead. For root only."},
    {"locks", cli_locks, "locks [--json] [MOUNT]", "who holds and who waits for locks", NULL},
    {"sessions", cli_sessions, "sessions [--json] [MOUNT]", "the hosts' sessions", NULL},
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
    puts("coordfs COMMAND --help tells more.");
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}

static int help_of(const struct command *c)
{
    printf("Usage: coordfs %s\n%s.\n", c->usage, c->help);
    if (c->details != NULL)
        printf("\n%s\n", c->details);
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}

int main(int argc, char **argv)
{
    const struct command *c;
    int status;

    if (argc < 2)
        return cli_fail(CLI_USAGE, "a command is missing (coordfs help lists them)");
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0)
        return help();
    c = find_command(argv[1]);
    if (c == NULL)
        return cli_fail(CLI_USAGE, "unknown command '%s' (coordfs help lists them)", argv[1]);
    if (argc > 2 && strcmp(argv[2], "--help") == 0)
        return help_of(c);
    status = c->run(argc - 1, argv + 1);
    if (status == CLI_SHOW_USAGE)
        return cli_fail(CLI_USAGE, "usage: coordfs %s", c->usage);
    return status;
}
