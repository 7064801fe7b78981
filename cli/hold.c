/* SPDX-License-Identifier: Apache-2.0 */
/* coordfs hold: keeps an entry as long as a command runs and its host lives. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/explain.h"
#include "cli/path.h"
#include "cli/presence.h"
#include "cli/run.h"
#include "cli/transact.h"

struct hold {
    const char *path;
    int dir;
    char *name;
    int fd; /* of the entry */
    uint64_t session;
};

/* Does the name still lead to the entry that we made? */
static bool is_there(const struct hold *h)
{
    struct stat ours, named;

    return fstat(h->fd, &ours) == 0 && fstatat(h->dir, h->name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           ours.st_ino == named.st_ino && ours.st_nlink > 0;
}

static uint64_t hold_until(void *arg)
{
    const struct hold *h = arg;
    uint64_t asked_ms = clock_boot_ms();

    if (h->session == 0 || presence_session(h->fd) != h->session || !is_there(h))
        return 0;
    return asked_ms + PRESENCE_PATIENCE_MS;
}

/* The session that owns the entry that was just made. If an earlier session had owned it, the entry
 * would be gone, which is_there notices. For a moment there may be no session. */
static uint64_t wait_session(int fd)
{
    uint64_t end = clock_boot_ms() + PRESENCE_PATIENCE_MS, session;

    while ((session = presence_session(fd)) == 0 && clock_boot_ms() < end)
        usleep(RUN_ASK_MS * 1000 / 10);
    return session;
}

static int make_entry(struct hold *h, const char *content)
{
    Cfs__Txn *txn = transact_new();
    Cfs__TxnPut *put;
    int rc;

    transact_check(txn, h->name, CFS__TXN_CHECK__KIND__ABSENT, 0);
    put = transact_put(txn, h->name, content, strlen(content));
    put->umask = cli_umask();
    put->ephemeral = CFS__EPHEMERAL__EPHEMERAL_SESSION;
    rc = transact_do(h->dir, h->path, txn);
    if (rc != CLI_OK)
        return rc;
    h->session = wait_session(h->dir);
    h->fd = openat(h->dir, h->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return h->fd >= 0 ? CLI_OK : cli_fail(CLI_FAILED, "%s: %s", h->path, explain_errno(errno));
}

static int run_while_present(struct hold *h, char **command, uint64_t grace_ms)
{
    struct run run = {command, hold_until, h, grace_ms, -1};
    struct run_end end;
    int status;

    setenv("COORDFS_HOLD", h->path, 1);
    status = run_command(&run, &end);
    if (end.lost)
        status = cli_fail(CLI_LOST, "%s: the entry was lost, so the command was stopped", h->path);
    if (is_there(h) && unlinkat(h->dir, h->name, 0) < 0 && errno != ENOENT && !end.lost)
        cli_fail(0, "%s: %s: the entry stays until this host's session ends", h->path,
                 explain_errno(errno));
    close(h->fd);
    return status;
}

int cli_hold(int argc, char **argv)
{
    static const struct option options[] = {
        {"content", required_argument, NULL, 'c'},
        {"grace", required_argument, NULL, 'k'},
        {0},
    };
    uint64_t grace_ms = RUN_GRACE_MS;
    const char *content = "";
    struct hold h;
    char **command;
    int o, rc;

    while ((o = cli_option(argc, argv, "c:k:", options)) >= 0) {
        if (o == 'c')
            content = optarg;
        else if (o != 'k' || !cli_parse_time(optarg, "hold: --grace", &grace_ms))
            return CLI_USAGE;
    }
    command = cli_command_of(argc, argv, optind);
    if (command == NULL)
        return CLI_SHOW_USAGE;
    h = (struct hold){.path = argv[optind]};
    h.dir = path_open_parent(h.path, false, &h.name);
    if (h.dir < 0)
        return CLI_FAILED;
    rc = make_entry(&h, content);
    if (rc == CLI_OK)
        rc = run_while_present(&h, command, grace_ms);
    free(h.name);
    close(h.dir);
    return rc;
}
