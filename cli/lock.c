/* SPDX-License-Identifier: Apache-2.0 */
/* coordfs lock and coordfs elect: run a command while this host holds a lock. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/explain.h"
#include "cli/presence.h"
#include "cli/run.h"

#define RETRY_S 1

/* ---- lock -------------------------------------------------------------------------------------*/

struct lock_options {
    bool shared;
    bool close; /* the command does not inherit the descriptor */
    int64_t wait_ms;
    uint64_t conflict; /* exit status */
    uint64_t grace_ms;
};

static bool parse_lock(int argc, char **argv, struct lock_options *o)
{
    static const struct option options[] = {
        {"shared", no_argument, NULL, 's'},
        {"exclusive", no_argument, NULL, 'x'},
        {"nonblock", no_argument, NULL, 'n'},
        {"wait", required_argument, NULL, 'w'},
        {"timeout", required_argument, NULL, 'w'},
        {"conflict-exit-code", required_argument, NULL, 'E'},
        {"close", no_argument, NULL, 'o'},
        {"grace", required_argument, NULL, 'k'},
        {0},
    };
    uint64_t ms;
    int c;

    while ((c = cli_option(argc, argv, "sxnw:E:ok:", options)) >= 0) {
        if (c == 's' || c == 'x')
            o->shared = c == 's';
        else if (c == 'n')
            o->wait_ms = 0;
        else if (c == 'o')
            o->close = true;
        else if (c == 'w' && cli_parse_time(optarg, "lock: -w", &ms))
            o->wait_ms = (int64_t)ms;
        else if (c == 'k' && cli_parse_time(optarg, "lock: --grace", &ms))
            o->grace_ms = ms;
        else if (c != 'E' || !cli_parse_number(optarg, 0, 255, "lock: -E", &o->conflict))
            return false;
    }
    return true;
}

int cli_lock(int argc, char **argv)
{
    struct lock_options o = {.wait_ms = PRESENCE_FOREVER, .conflict = 1, .grace_ms = RUN_GRACE_MS};
    struct run run = {.until = presence_until};
    struct run_end end;
    struct presence p;
    int err, status;

    if (!parse_lock(argc, argv, &o))
        return CLI_USAGE;
    run.argv = cli_command_of(argc, argv, optind);
    if (run.argv == NULL)
        return CLI_SHOW_USAGE;
    err = presence_take(&p, argv[optind], o.shared, o.wait_ms);
    if (err == -EWOULDBLOCK)
        return (int)o.conflict; /* no message, as flock(1) */
    if (err != 0)
        return cli_fail(CLI_FAILED, "%s: %s", argv[optind], presence_error(err));
    presence_export(&p);
    run.arg = &p;
    run.grace_ms = o.grace_ms;
    run.keep_fd = o.close ? -1 : p.fd;
    status = run_command(&run, &end);
    if (end.lost)
        status = cli_fail(CLI_LOST, "%s: the lock was lost, so the command was stopped", p.path);
    presence_release(&p);
    return status;
}

/* ---- elect ------------------------------------------------------------------------------------*/

struct elect_options {
    const char *id;
    bool once;
    uint64_t grace_ms;
};

static bool parse_elect(int argc, char **argv, struct elect_options *o)
{
    static const struct option options[] = {
        {"id", required_argument, NULL, 'i'},
        {"once", no_argument, NULL, '1'},
        {"grace", required_argument, NULL, 'k'},
        {0},
    };
    int c;

    while ((c = cli_option(argc, argv, "i:k:", options)) >= 0) {
        if (c == 'i')
            o->id = optarg;
        else if (c == '1')
            o->once = true;
        else if (c != 'k' || !cli_parse_time(optarg, "elect: --grace", &o->grace_ms))
            return false;
    }
    return true;
}

/* Errors that end without us: the daemon is started again, or the cluster finds its quorum. */
static bool is_passing(int err)
{
    return err == -EIO || err == -ENOTCONN || err == -ECONNABORTED || err == -ESTALE ||
           err == -ETIMEDOUT || err == -ENOLCK;
}

/* Leads until the command has ended or the lock is lost. */
static int lead(struct presence *p, const struct elect_options *o, char **command, bool *lost)
{
    struct run run = {command, presence_until, p, o->grace_ms, p->fd};
    char *name = xasprintf("%s\n", o->id);
    int err = presence_write(p, name, strlen(name)), status;
    struct run_end end;

    free(name);
    *lost = err == -EACCES || presence_until(p) == 0;
    if (*lost)
        return CLI_LOST;
    if (err != 0)
        return cli_fail(CLI_FAILED, "%s: %s", p->path, explain_errno(-err));
    presence_export(p);
    setenv("COORDFS_ID", o->id, 1);
    status = run_command(&run, &end);
    *lost = end.lost;
    if (!*lost && (err = presence_write(p, "", 0)) != 0)
        cli_fail(0, "%s: %s: the file still names this host as the leader", p->path,
                 explain_errno(-err));
    return status;
}

static int elect(const char *path, const struct elect_options *o, char **command)
{
    bool has_led = false, lost, told = false;
    struct presence p;
    int err, status;

    for (;;) {
        err = presence_take(&p, path, false, PRESENCE_FOREVER);
        if (err != 0) {
            if (o->once || !(is_passing(err) || (has_led && (err == -ENOTTY || err == -ENOENT))))
                return cli_fail(CLI_FAILED, "%s: %s", path, presence_error(err));
            if (!told)
                cli_fail(0, "%s: %s (trying again)", path, presence_error(err));
            told = true;
            sleep(RETRY_S);
            continue;
        }
        told = false;
        has_led = true;
        status = lead(&p, o, command, &lost);
        presence_release(&p);
        if (!lost)
            return status;
        cli_fail(0, "%s: the lead was lost, so the command was stopped", path);
        if (o->once)
            return CLI_LOST;
        sleep(RETRY_S);
    }
}

int cli_elect(int argc, char **argv)
{
    struct elect_options o = {.grace_ms = RUN_GRACE_MS};
    char host[256] = "", **command;

    gethostname(host, sizeof host - 1);
    o.id = host;
    if (!parse_elect(argc, argv, &o))
        return CLI_USAGE;
    command = cli_command_of(argc, argv, optind);
    if (command == NULL)
        return CLI_SHOW_USAGE;
    if (o.id[0] == '\0' || strchr(o.id, '\n') != NULL)
        return cli_fail(CLI_USAGE, "elect: --id '%s' must not be empty or contain a newline", o.id);
    return elect(argv[optind], &o, command);
}
