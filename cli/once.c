/* SPDX-License-Identifier: Apache-2.0 */
/* coordfs once: runs a command on one host per period.
 *
 * A period's number is the wall clock divided by the length of a period. Clocks differ, so a lock
 * alone is not enough: a command may end before another host's clock says that the period has
 * begun. Therefore the locked file records the runs (cli/once_record.h):
 *
 *   lock; is my period done? record the claim; run; record the end; unlock
 *
 * The file is changed by transactions that require the lock: a host that has lost it can neither
 * claim nor finish anything. The lock is held while the command runs, also between two tries, so
 * the other hosts wait for the outcome. If the host dies, another host gets the lock, finds an
 * unfinished claim and runs the command again: a command runs once per period, or more often if
 * hosts die while it runs.
 *
 * A host passes a failed period on if it is told to, or if it cannot execute the command at all:
 * the period stays due, and the next waiting host gets the lock. Each host tries a period once.
 *
 * A host whose clock is ahead may claim a period some numbers ahead. The periods in between are
 * recorded as missing, and run when the other hosts' clocks reach them. Periods before the first
 * run ever are not run.
 *
 * cron mails each line that is printed, so each trouble is told on one host. The host that ran the
 * command tells of its failure. If a period is skipped because an earlier run takes too long, the
 * first host that gives up says so in the record. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/explain.h"
#include "cli/once_record.h"
#include "cli/path.h"
#include "cli/presence.h"
#include "cli/run.h"
#include "cli/transact.h"

#define RETRIES_MAX    1000
#define RETRY_DELAY_MS 1000
#define MARK_TRIES     20 /* of a change of the record without its lock */

struct once {
    const char *path;
    char **command;
    uint64_t every_ms;
    int64_t within_ms;
    uint64_t grace_ms;
    uint64_t retries;
    uint64_t retry_delay_ms;
    const char *host;
    bool next_host; /* runs the command if it fails here */
    bool quiet;
    bool status;
};

static int fail_read(const char *path, int err)
{
    return cli_fail(CLI_FAILED, "%s: %s", path,
                    err == -EBADMSG ? "not a record of 'coordfs once': give another file"
                                    : explain_errno(-err));
}

static void print_record(const char *path, const struct once_record *r)
{
    char *text = once_record_describe(r, path);

    puts(text);
    free(text);
}

static int print_status(const char *path)
{
    struct once_record record = {.empty = true};
    int fd = path_open(path, O_RDONLY, 0), err;

    if (fd < 0)
        return CLI_FAILED;
    err = once_record_read(fd, &record);
    close(fd);
    if (err != 0)
        return fail_read(path, err);
    if (record.empty)
        printf("%s: it has never run\n", path);
    else
        print_record(path, &record);
    return CLI_OK;
}

/* ---- Running ----------------------------------------------------------------------------------*/

static int record_write(const struct presence *p, const struct once_record *r)
{
    char *text = once_record_format(r);
    int err = presence_write(p, text, strlen(text));

    free(text);
    return err;
}

/* The command has run. Waits for a quorum to record that, as long as the lock is ours. */
static int write_outcome(const struct presence *p, const struct once_record *r)
{
    int err;

    do {
        err = record_write(p, r);
    } while (err == -ETIMEDOUT || err == -EINTR);
    return err;
}

static void export_period(uint64_t period)
{
    char text[24];

    snprintf(text, sizeof text, "%llu", (unsigned long long)period);
    setenv("COORDFS_PERIOD", text, 1);
}

/* As in a shell, and by env(1), nice(1) and others: the command was not found, or is no program. */
static bool could_not_run(int status)
{
    return status == 126 || status == 127;
}

/* Another try here would end in the same way, or nobody wants it. */
static bool is_final(int status, const struct run_end *end)
{
    return status == 0 || could_not_run(status) || end->lost || end->signalled;
}

/* Returns the exit status of the last try. */
static int run_tries(const struct once *o, struct presence *p, struct run_end *end, uint64_t *tries)
{
    struct run run = {o->command, presence_until, p, o->grace_ms, p->fd};
    struct timespec delay = {(time_t)(o->retry_delay_ms / 1000),
                             (long)(o->retry_delay_ms % 1000) * 1000000};
    int status;

    for (*tries = 1;; ++*tries) {
        status = run_command(&run, end);
        if (is_final(status, end) || *tries > o->retries)
            return status;
        nanosleep(&delay, NULL); /* a signal ends this process: the next host runs it */
    }
}

static void tell_failure(const struct once *o, const struct once_record *r, uint64_t tries,
                         bool passed_on)
{
    cli_fail(0, "%s: period %llu: the command failed on %s with exit status %d (%llu %s): %s",
             o->path, (unsigned long long)r->period, r->host, r->status, (unsigned long long)tries,
             tries == 1 ? "try" : "tries",
             passed_on ? "the next host that asks for this period runs it"
                       : "it is not run again in this period");
}

static int run_period(struct presence *p, const struct once *o, struct once_record *r,
                      uint64_t period)
{
    struct run_end end = {0};
    bool pass_on = false;
    uint64_t tries;
    int err, status;

    once_record_claim(r, period, o->host);
    err = record_write(p, r);
    if (err != 0)
        return cli_fail(err == -EACCES ? CLI_LOST : CLI_FAILED, "%s: the command was not run: %s",
                        o->path,
                        err == -EACCES ? "this host does not hold the lock" : explain_errno(-err));
    presence_export(p);
    export_period(period);
    status = run_tries(o, p, &end, &tries);
    if (!end.lost) {
        pass_on = could_not_run(status) || (status != 0 && o->next_host);
        pass_on = once_record_finish(r, status, pass_on);
        err = write_outcome(p, r);
    }
    if (end.lost || err != 0)
        return cli_fail(CLI_LOST,
                        "%s: period %llu: the lock was lost: a host will run the command again",
                        o->path, (unsigned long long)period);
    if (status != 0)
        tell_failure(o, r, tries, pass_on);
    return status;
}

static int run_if_due(struct presence *p, const struct once *o, uint64_t period)
{
    struct once_record record = {.empty = true};
    int err = once_record_read(p->fd, &record);

    if (err != 0)
        return fail_read(o->path, err);
    if (!record.empty && record.every_ms != o->every_ms)
        return cli_fail(
            CLI_USAGE,
            "%s: the period is %llu ms, not %llu ms: remove the file to change the period", o->path,
            (unsigned long long)record.every_ms, (unsigned long long)o->every_ms);
    record.every_ms = o->every_ms;
    if (once_record_is_due(&record, period, o->host))
        return run_period(p, o, &record, period);
    if (!o->quiet)
        print_record(o->path, &record);
    return CLI_OK;
}

/* ---- Not in time: another host still has the lock ---------------------------------------------*/

/* Reads the record and the version that it belongs to. 0 or -errno. */
static int read_version(const char *path, struct once_record *record, uint64_t *version)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), err;
    char *text;

    if (fd < 0)
        return -errno;
    text = path_xattr(fd, "version");
    *version = text != NULL ? strtoull(text, NULL, 10) : 0;
    free(text);
    err = once_record_read(fd, record);
    close(fd);
    return err;
}

/* Writes the record if the file still has that version. */
static bool write_version(const char *path, const struct once_record *record, uint64_t version)
{
    Cfs__Txn *txn = transact_new();
    Cfs__Reply *reply;
    char *name, *text = once_record_format(record);
    int dir = path_open_parent(path, false, &name);
    bool done = false;

    if (dir >= 0) {
        transact_check(txn, name, CFS__TXN_CHECK__KIND__VERSION, version);
        transact_put(txn, name, text, strlen(text));
        reply = transact_run(dir, txn);
        done = reply != NULL && reply->status == 0;
        if (reply != NULL)
            cfs__reply__free_unpacked(reply, NULL);
        free(name);
        close(dir);
    }
    cfs__txn__free_unpacked(txn, NULL);
    free(text);
    return done;
}

/* This host alone has to tell that the period is skipped; *record: what was read last. True also if
 * the record cannot be changed: better told twice than not at all. */
static bool must_tell(const struct once *o, uint64_t period, struct once_record *record)
{
    uint64_t version = 0;

    for (int try = 0; try < MARK_TRIES; try++) {
        if (read_version(o->path, record, &version) != 0 || record->empty)
            return true;
        if (!once_record_is_due(record, period, o->host) ||
            (record->period == period && record->end_ms == 0) || record->skipped >= period)
            return false;
        record->skipped = period;
        if (write_version(o->path, record, version))
            return true;
    }
    return true;
}

/* If the other host runs this very period, nothing is wrong: that host tells the outcome. */
static int give_up(const struct once *o, uint64_t period)
{
    struct once_record record = {.empty = true};
    char *text;

    if (!must_tell(o, period, &record)) {
        if (!o->quiet)
            print_record(o->path, &record);
        return record.skipped >= period ? CLI_FAILED : CLI_OK;
    }
    if (record.empty)
        return cli_fail(CLI_FAILED, "%s: another host still runs it, or holds the lock: %s",
                        o->path, explain_text(EXPLAIN_LOCK_TAKEN));
    text = once_record_describe(&record, o->path);
    cli_fail(0, "%s: period %llu is skipped: an earlier run took longer than --within: %s", o->path,
             (unsigned long long)period, text + strlen(o->path) + 2);
    free(text);
    return CLI_FAILED;
}

static int run_once(const struct once *o)
{
    uint64_t period = (uint64_t)(clock_real_ns() / 1000000) / o->every_ms;
    struct presence p;
    int err = presence_take(&p, o->path, false, o->within_ms);
    int status;

    if (err == -EWOULDBLOCK)
        return give_up(o, period);
    if (err != 0)
        return cli_fail(CLI_FAILED, "%s: %s", o->path, presence_error(err));
    status = run_if_due(&p, o, period);
    presence_release(&p);
    return status;
}

/* ---- Options ----------------------------------------------------------------------------------*/

static bool parse_failure(const char *text, bool *next_host)
{
    *next_host = strcmp(text, "next-host") == 0;
    return *next_host || strcmp(text, "done") == 0 ||
           cli_bad("once: --on-failure %s: must be 'done' or 'next-host'", text);
}

static bool parse_host(const char *text, const char **host)
{
    *host = text;
    return (text[0] != '\0' && strlen(text) <= ONCE_HOST_MAX) ||
           cli_bad("once: --id '%s': must have 1 to %d bytes", text, ONCE_HOST_MAX);
}

static bool parse_every(const char *text, uint64_t *every_ms)
{
    return cli_parse_time(text, "once: --every", every_ms) &&
           (*every_ms > 0 || cli_bad("once: --every %s: must be longer than 0", text));
}

static bool parse_within(const char *text, int64_t *within_ms)
{
    uint64_t ms;

    if (!cli_parse_time(text, "once: --within", &ms))
        return false;
    *within_ms = (int64_t)ms;
    return true;
}

static bool parse_option(int c, struct once *o)
{
    switch (c) {
    case 'q':
        o->quiet = true;
        return true;
    case 'v':
        o->quiet = false;
        return true;
    case 's':
        o->status = true;
        return true;
    case 'i':
        return parse_host(optarg, &o->host);
    case 'e':
        return parse_every(optarg, &o->every_ms);
    case 'w':
        return parse_within(optarg, &o->within_ms);
    case 'r':
        return cli_parse_number(optarg, 0, RETRIES_MAX, "once: --retry", &o->retries);
    case 'd':
        return cli_parse_time(optarg, "once: --retry-delay", &o->retry_delay_ms);
    case 'f':
        return parse_failure(optarg, &o->next_host);
    case 'k':
        return cli_parse_time(optarg, "once: --grace", &o->grace_ms);
    default:
        return false;
    }
}

static bool parse(int argc, char **argv, struct once *o)
{
    static const struct option options[] = {
        {"every", required_argument, NULL, 'e'},
        {"within", required_argument, NULL, 'w'},
        {"retry", required_argument, NULL, 'r'},
        {"retry-delay", required_argument, NULL, 'd'},
        {"on-failure", required_argument, NULL, 'f'},
        {"grace", required_argument, NULL, 'k'},
        {"id", required_argument, NULL, 'i'},
        {"quiet", no_argument, NULL, 'q'},
        {"verbose", no_argument, NULL, 'v'},
        {"status", no_argument, NULL, 's'},
        {0},
    };
    int c;

    while ((c = cli_option(argc, argv, "e:w:r:k:i:qv", options)) >= 0)
        if (!parse_option(c, o))
            return false;
    return true;
}

int cli_once(int argc, char **argv)
{
    struct once o = {.within_ms = -1,
                     .grace_ms = RUN_GRACE_MS,
                     .retry_delay_ms = RETRY_DELAY_MS,
                     .quiet = !isatty(STDOUT_FILENO)};
    char host[ONCE_HOST_MAX + 1] = "";

    gethostname(host, sizeof host - 1);
    o.host = host;
    if (!parse(argc, argv, &o))
        return CLI_USAGE;
    o.path = argv[optind];
    if (o.status && optind == argc - 1)
        return print_status(o.path);
    o.command = cli_command_of(argc, argv, optind);
    if (o.status || o.command == NULL || o.every_ms == 0)
        return CLI_SHOW_USAGE;
    if (o.within_ms < 0)
        o.within_ms = (int64_t)o.every_ms;
    return run_once(&o);
}
