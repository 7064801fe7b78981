/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/once_record.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

#define RECORD_MAX 65536

/* ---- The record as text -----------------------------------------------------------------------*/

char *once_record_format(const struct once_record *r)
{
    json_t *missing = json_array(), *failed = json_array(), *all;
    char *text, *line;

    for (size_t i = 0; i < r->n_missing; i++)
        json_array_append_new(missing, json_integer((json_int_t)r->missing[i]));
    for (size_t i = 0; i < r->n_failed; i++)
        json_array_append_new(failed, json_string(r->failed[i]));
    all = json_pack("{s:I, s:I, s:o, s:I, s:I, s:s, s:I, s:I, s:i, s:o}", "every_ms",
                    (json_int_t)r->every_ms, "last", (json_int_t)r->last, "missing", missing,
                    "skipped", (json_int_t)r->skipped, "period", (json_int_t)r->period, "host",
                    r->host, "start_ms", (json_int_t)r->start_ms, "end_ms", (json_int_t)r->end_ms,
                    "status", r->status, "failed", failed);
    check(all != NULL);
    text = json_dumps(all, JSON_COMPACT);
    check(text != NULL);
    line = xasprintf("%s\n", text);
    free(text);
    json_decref(all);
    return line;
}

static bool take_missing(const json_t *list, struct once_record *out)
{
    if (!json_is_array(list) || json_array_size(list) > ONCE_MISSING_MAX)
        return false;
    for (out->n_missing = 0; out->n_missing < json_array_size(list); out->n_missing++)
        out->missing[out->n_missing] =
            (uint64_t)json_integer_value(json_array_get(list, out->n_missing));
    return true;
}

static bool take_failed(const json_t *list, struct once_record *out)
{
    const char *host;

    if (list == NULL) /* of an older version */
        return true;
    if (!json_is_array(list) || json_array_size(list) > ONCE_FAILED_MAX)
        return false;
    for (out->n_failed = 0; out->n_failed < json_array_size(list); out->n_failed++) {
        host = json_string_value(json_array_get(list, out->n_failed));
        if (host == NULL)
            return false;
        snprintf(out->failed[out->n_failed], sizeof out->failed[0], "%s", host);
    }
    return true;
}

/* False: the text is not a record. */
static bool record_parse(const struct buf *text, struct once_record *out)
{
    json_t *all = NULL, *missing, *failed = NULL;
    json_int_t every, last, skipped = 0, period, start, end;
    const char *host;
    bool ok;

    *out = (struct once_record){.empty = text->len == 0};
    if (out->empty)
        return true;
    all = json_loadb((const char *)text->data, text->len, 0, NULL);
    ok = json_unpack(all, "{s:I, s:I, s:o, s?I, s:I, s:s, s:I, s:I, s:i, s?o}", "every_ms", &every,
                     "last", &last, "missing", &missing, "skipped", &skipped, "period", &period,
                     "host", &host, "start_ms", &start, "end_ms", &end, "status", &out->status,
                     "failed", &failed) == 0 &&
         every > 0 && last >= 0 && take_missing(missing, out) && take_failed(failed, out);
    if (ok) {
        out->every_ms = (uint64_t)every;
        out->last = (uint64_t)last;
        out->skipped = (uint64_t)skipped;
        out->period = (uint64_t)period;
        out->start_ms = start;
        out->end_ms = end;
        snprintf(out->host, sizeof out->host, "%s", host);
    }
    json_decref(all);
    return ok;
}

int once_record_read(int fd, struct once_record *out)
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

static size_t find_missing(const struct once_record *r, uint64_t period)
{
    size_t i = 0;

    while (i < r->n_missing && r->missing[i] != period)
        i++;
    return i;
}

bool once_record_has_failed(const struct once_record *r, uint64_t period, const char *host)
{
    for (size_t i = 0; i < r->n_failed; i++)
        if (r->period == period && strcmp(r->failed[i], host) == 0)
            return true;
    return false;
}

bool once_record_is_due(const struct once_record *r, uint64_t period, const char *host)
{
    return r->empty || period > r->last ||
           (find_missing(r, period) < r->n_missing && !once_record_has_failed(r, period, host));
}

static void remove_missing(struct once_record *r, size_t at)
{
    memmove(&r->missing[at], &r->missing[at + 1], (r->n_missing - at - 1) * sizeof(r->missing[0]));
    r->n_missing--;
}

static void add_missing(struct once_record *r, uint64_t period)
{
    if (find_missing(r, period) < r->n_missing)
        return;
    if (r->n_missing == ONCE_MISSING_MAX)
        remove_missing(r, 0);
    r->missing[r->n_missing++] = period;
}

void once_record_claim(struct once_record *r, uint64_t period, const char *host)
{
    uint64_t from =
        r->empty ? period : max_u64(r->last + 1, period - min_u64(period, ONCE_MISSING_MAX));

    for (uint64_t missed = from; missed < period; missed++)
        add_missing(r, missed);
    add_missing(r, period);
    r->last = r->empty ? period : max_u64(r->last, period);
    r->empty = false;
    r->n_failed = r->period == period ? r->n_failed : 0;
    r->period = period;
    snprintf(r->host, sizeof r->host, "%s", host);
    r->start_ms = clock_real_ns() / 1000000;
    r->end_ms = 0;
    r->status = 0;
}

bool once_record_finish(struct once_record *r, int status, bool pass_on)
{
    size_t at = find_missing(r, r->period);

    pass_on = pass_on && r->n_failed < ONCE_FAILED_MAX;
    if (pass_on)
        snprintf(r->failed[r->n_failed++], sizeof r->failed[0], "%s", r->host);
    else if (at < r->n_missing)
        remove_missing(r, at);
    r->end_ms = clock_real_ns() / 1000000;
    r->status = status;
    return pass_on;
}

/* ---- Saying -----------------------------------------------------------------------------------*/

static void format_time(int64_t ms, char *out, size_t size)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;

    if (localtime_r(&seconds, &tm) == NULL || strftime(out, size, "%F %T", &tm) == 0)
        snprintf(out, size, "%lld", (long long)seconds);
}

static void format_failed(const struct once_record *r, struct buf *out)
{
    for (size_t i = 0; i < r->n_failed; i++)
        buf_printf(out, "%s%s", i == 0 ? "; it failed on " : ", ", r->failed[i]);
    buf_printf(out, "%s", "");
}

char *once_record_describe(const struct once_record *r, const char *path)
{
    struct buf failed = BUF_EMPTY;
    char start[32], end[32], *text;

    format_time(r->start_ms, start, sizeof start);
    format_time(r->end_ms, end, sizeof end);
    format_failed(r, &failed);
    text = r->end_ms == 0
               ? xasprintf("%s: period %llu is run by %s since %s, or that run did not finish%s",
                           path, (unsigned long long)r->period, r->host, start, (char *)failed.data)
               : xasprintf("%s: period %llu was run by %s from %s to %s, exit status %d%s", path,
                           (unsigned long long)r->period, r->host, start, end, r->status,
                           (char *)failed.data);
    buf_fini(&failed);
    return text;
}
