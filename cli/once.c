/* SPDX-License-Identifier: Apache-2.0 */
/* coordfs once: runs a command on one host per period.
 *
 * A period's number is the wall clock divided by the length of a period. Clocks differ, so a lock
 * alone is not enough: a command may end before another host's clock says that the period has
 * begun. Therefore the locked file records the runs:
 *
 *   lock; is my period done? record the claim; run; record the end; unlock
 *
 * The file is changed by transactions that require the lock: a host that has lost it can neither
 * claim nor finish anything. The lock is held while the command runs, so the other hosts wait for
 * the outcome. If the host dies, another host gets the lock, finds an unfinished claim and runs the
 * command again: a command runs once per period, or more often if hosts die while it runs.
 *
 * A host whose clock is ahead may claim a period some numbers ahead. The periods in between are
 * recorded as missing, and run when the other hosts' clocks reach them. Periods before the first
 * run ever are not run. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/explain.h"
#include "cli/path.h"
#include "cli/presence.h"
#include "cli/run.h"

#define MISSING_MAX 64 /* older ones are dropped and never run */
#define RECORD_MAX  65536

struct record {
    bool empty; /* nothing was run yet */
    uint64_t every_ms;
    uint64_t last;                 /* the highest period that was claimed */
    uint64_t missing[MISSING_MAX]; /* periods up to `last` that are not done */
    size_t n_missing;
    /* The latest run. */
    uint64_t period;
    char host[65];
    int64_t start_ms; /* since the epoch, by that host's clock */
    int64_t end_ms;   /* 0: the run has not ended */
    int status;
};

/* ---- The record as text -----------------------------------------------------------------------*/

static char *record_format(const struct record *r)
{
    json_t *missing = json_array();
    json_t *all;
    char *text, *line;

    for (size_t i = 0; i < r->n_missing; i++)
        json_array_append_new(missing, json_integer((json_int_t)r->missing[i]));
    all = json_pack("{s:I, s:I, s:o, s:I, s:s, s:I, s:I, s:i}", "every_ms", (json_int_t)r->every_ms,
                    "last", (json_int_t)r->last, "missing", missing, "period",
                    (json_int_t)r->period, "host", r->host, "start_ms", (json_int_t)r->start_ms,
                    "end_ms", (json_int_t)r->end_ms, "status", r->status);
    check(all != NULL);
    text = json_dumps(all, JSON_COMPACT);
    check(text != NULL);
    line = xasprintf("%s\n", text);
    free(text);
    json_decref(all);
    return line;
}

static bool take_missing(const json_t *list, struct record *out)
{
    if (!json_is_array(list) || json_array_size(list) > MISSING_MAX)
        return false;
    for (out->n_missing = 0; out->n_missing < json_array_size(list); out->n_missing++)
        out->missing[out->n_missing] =
            (uint64_t)json_integer_value(json_array_get(list, out->n_missing));
    return true;
}

/* False: the text is not a record. */
static bool record_parse(const struct buf *text, struct record *out)
{
    json_t *all = NULL, *missing;
    json_int_t every, last, period, start, end;
    const char *host;
    bool ok;

    *out = (struct record){.empty = text->len == 0};
    if (out->empty)
        return true;
    all = json_loadb((const char *)text->data, text->len, 0, NULL);
    ok = json_unpack(all, "{s:I, s:I, s:o, s:I, s:s, s:I, s:I, s:i}", "every_ms", &every, "last",
                     &last, "missing", &missing, "period", &period, "host", &host, "start_ms",
                     &start, "end_ms", &end, "status", &out->status) == 0 &&
         every > 0 && last >= 0 && take_missing(missing, out);
    if (ok) {
        out->every_ms = (uint64_t)every;
        out->last = (uint64_t)last;
        out->period = (uint64_t)period;
        out->start_ms = start;
        out->end_ms = end;
        snprintf(out->host, sizeof out->host, "%s", host);
    }
    json_decref(all);
    return ok;
}

/* 0 or -errno; -EBADMSG: the file is not a record. */
static int record_read(int fd, struct record *out)
{
    struct buf text = BUF_EMPTY;
    ssize_t n;
    int err = 0;

    do {
        buf_reserve(&text, 4096);
        n = pread(fd, text.data + text.len, 4096, (off_t)text.len);
        text.len += n > 0 ? (size_t)n : 0;
    } while (n > 0 && text.len < RECORD_MAX);
    if (n < 0)
        err = -errno;
    else if (n > 0 || !record_parse(&text, out))
        err = -EBADMSG;
    buf_fini(&text);
    return err;
}

/* ---- Periods ----------------------------------------------------------------------------------*/

static size_t find_missing(const struct record *r, uint64_t period)
{
    size_t i = 0;

    while (i < r->n_missing && r->missing[i] != period)
        i++;
    return i;
}

static bool is_due(const struct record *r, uint64_t period)
{
    return r->empty || period > r->last || find_missing(r, period) < r->n_missing;
}

static void remove_missing(struct record *r, size_t at)
{
    memmove(&r->missing[at], &r->missing[at + 1], (r->n_missing - at - 1) * sizeof(r->missing[0]));
    r->n_missing--;
}

static void add_missing(struct record *r, uint64_t period)
{
    if (find_missing(r, period) < r->n_missing)
        return;
    if (r->n_missing == MISSING_MAX)
        remove_missing(r, 0);
    r->missing[r->n_missing++] = period;
}

static void claim(struct record *r, uint64_t period, const char *host)
{
    uint64_t from = r->empty ? period : max_u64(r->last + 1, period - min_u64(period, MISSING_MAX));

    for (uint64_t missed = from; missed < period; missed++)
        add_missing(r, missed);
    add_missing(r, period);
    r->last = r->empty ? period : max_u64(r->last, period);
    r->empty = false;
    r->period = period;
    snprintf(r->host, sizeof r->host, "%s", host);
    r->start_ms = clock_real_ns() / 1000000;
    r->end_ms = 0;
    r->status = 0;
}

static void finish(struct record *r, int status)
{
    size_t at = find_missing(r, r->period);

    if (at < r->n_missing)
        remove_missing(r, at);
    r->end_ms = clock_real_ns() / 1000000;
    r->status = status;
}

/* ---- Saying -----------------------------------------------------------------------------------*/

static void format_time(int64_t ms, char *out, size_t size)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;

    if (localtime_r(&seconds, &tm) == NULL || strftime(out, size, "%F %T", &tm) == 0)
        snprintf(out, size, "%lld", (long long)seconds);
}

static void print_record(const char *path, const struct record *r)
{
    char start[32], end[32];

    format_time(r->start_ms, start, sizeof start);
    format_time(r->end_ms, end, sizeof end);
    if (r->end_ms == 0)
        printf("%s: period %llu is run by %s since %s, or that run did not finish\n", path,
               (unsigned long long)r->period, r->host, start);
    else
        printf("%s: period %llu was run by %s from %s to %s, exit status %d\n", path,
               (unsigned long long)r->period, r->host, start, end, r->status);
}

static int print_status(const char *path)
{
    struct record record = {.empty = true};
    int fd = path_open(path, O_RDONLY, 0), err;

    if (fd < 0)
        return CLI_FAILED;
    err = record_read(fd, &record);
    close(fd);
    if (err != 0)
        return cli_fail(CLI_FAILED, "%s: %s", path,
                        err == -EBADMSG ? "not a record of 'coordfs once': give another file"
                                        : explain_errno(-err));
    if (record.empty)
        printf("%s: it has never run\n", path);
    else
        print_record(path, &record);
    return CLI_OK;
}

/* ---- Running ----------------------------------------------------------------------------------*/

struct once {
    const char *path;
    char **command;
    uint64_t every_ms;
    int64_t within_ms;
    uint64_t grace_ms;
    const char *host;
    bool quiet;
    bool status;
};

static int record_write(const struct presence *p, const struct record *r)
{
    char *text = record_format(r);
    int err = presence_write(p, text, strlen(text));

    free(text);
    return err;
}

/* The command has run. Waits for a quorum to record that, as long as the lock is ours. */
static int write_outcome(const struct presence *p, const struct record *r)
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

static int run_period(struct presence *p, const struct once *o, struct record *r, uint64_t period)
{
    struct run run = {o->command, presence_until, p, o->grace_ms, p->fd};
    int err, status;
    bool lost;

    claim(r, period, o->host);
    err = record_write(p, r);
    if (err != 0)
        return cli_fail(err == -EACCES ? CLI_LOST : CLI_FAILED, "%s: the command was not run: %s",
                        o->path,
                        err == -EACCES ? "this host does not hold the lock" : explain_errno(-err));
    presence_export(p);
    export_period(period);
    status = run_command(&run, &lost);
    if (!lost) {
        finish(r, status);
        err = write_outcome(p, r);
    }
    if (lost || err != 0)
        return cli_fail(CLI_LOST,
                        "%s: period %llu: the lock was lost: a host will run the command again",
                        o->path, (unsigned long long)period);
    return status;
}

static int run_if_due(struct presence *p, const struct once *o, uint64_t period)
{
    struct record record = {.empty = true};
    int err = record_read(p->fd, &record);

    if (err != 0)
        return cli_fail(CLI_FAILED, "%s: %s", o->path,
                        err == -EBADMSG ? "not a record of 'coordfs once': give another file"
                                        : explain_errno(-err));
    if (!record.empty && record.every_ms != o->every_ms)
        return cli_fail(
            CLI_USAGE,
            "%s: the period is %llu ms, not %llu ms: remove the file to change the period", o->path,
            (unsigned long long)record.every_ms, (unsigned long long)o->every_ms);
    record.every_ms = o->every_ms;
    if (is_due(&record, period))
        return run_period(p, o, &record, period);
    if (!o->quiet)
        print_record(o->path, &record);
    return CLI_OK;
}

static int run_once(const struct once *o)
{
    uint64_t period = (uint64_t)(clock_real_ns() / 1000000) / o->every_ms;
    struct presence p;
    int err = presence_take(&p, o->path, false, o->within_ms);
    int status;

    if (err != 0)
        return cli_fail(CLI_FAILED, "%s: %s", o->path,
                        err == -EWOULDBLOCK ? "another host still runs it" : presence_error(err));
    status = run_if_due(&p, o, period);
    presence_release(&p);
    return status;
}

static bool parse(int argc, char **argv, struct once *o)
{
    static const struct option options[] = {
        {"every", required_argument, NULL, 'e'},
        {"within", required_argument, NULL, 'w'},
        {"grace", required_argument, NULL, 'k'},
        {"id", required_argument, NULL, 'i'},
        {"quiet", no_argument, NULL, 'q'},
        {"status", no_argument, NULL, 's'},
        {0},
    };
    uint64_t ms;
    int c;

    while ((c = cli_option(argc, argv, "e:w:k:i:q", options)) >= 0) {
        if (c == 'q')
            o->quiet = true;
        else if (c == 's')
            o->status = true;
        else if (c == 'i')
            o->host = optarg;
        else if (c == 'e' && cli_parse_time(optarg, "once: --every", &o->every_ms)) {
            if (o->every_ms == 0)
                return cli_bad("once: --every %s: must be longer than 0", optarg);
        } else if (c == 'w' && cli_parse_time(optarg, "once: --within", &ms))
            o->within_ms = (int64_t)ms;
        else if (c != 'k' || !cli_parse_time(optarg, "once: --grace", &o->grace_ms))
            return false;
    }
    return true;
}

int cli_once(int argc, char **argv)
{
    struct once o = {.within_ms = -1, .grace_ms = RUN_GRACE_MS};
    char host[256] = "";

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
