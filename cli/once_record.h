/* SPDX-License-Identifier: Apache-2.0 */
/* What the locked file of `coordfs once` says: the periods that were claimed, those that still have
 * to run, and the latest run. One line of JSON; an empty file: nothing was run yet.
 *
 * A period is due until a run of it has counted: until it ended, and was not left to the next host.
 * A host that has left a period to the next host is not asked for it again.
 *
 * Everything here is memory only, but once_record_read. Any thread. */
#ifndef CLI_ONCE_RECORD_H
#define CLI_ONCE_RECORD_H

#include "base/base.h"

#define ONCE_MISSING_MAX 64 /* older ones are dropped and never run */
#define ONCE_FAILED_MAX  64 /* hosts; more runs of a period count, whatever their outcome is */
#define ONCE_HOST_MAX    64 /* bytes of a host's name */

struct once_record {
    bool empty; /* nothing was run yet */
    uint64_t every_ms;
    uint64_t last;                      /* the highest period that was claimed */
    uint64_t missing[ONCE_MISSING_MAX]; /* periods up to `last` that are not done */
    size_t n_missing;
    uint64_t skipped; /* the highest period of which a host has told that it is skipped */
    /* The latest run. */
    uint64_t period;
    char host[ONCE_HOST_MAX + 1];
    int64_t start_ms; /* since the epoch, by that host's clock */
    int64_t end_ms;   /* 0: the run has not ended */
    int status;
    /* The hosts that have left `period` to the next host. */
    char failed[ONCE_FAILED_MAX][ONCE_HOST_MAX + 1];
    size_t n_failed;
};

/* Reads the record from the beginning of the file. 0 or -errno; -EBADMSG: it is no record. */
int once_record_read(int fd, struct once_record *out);
/* The line to write. gives */
char *once_record_format(const struct once_record *r);

/* Must this host run the period now? */
bool once_record_is_due(const struct once_record *r, uint64_t period, const char *host);
/* Did this host leave the period to the next host? */
bool once_record_has_failed(const struct once_record *r, uint64_t period, const char *host);
/* The host begins to run the period. */
void once_record_claim(struct once_record *r, uint64_t period, const char *host);
/* The claimed run has ended. pass_on: the period stays due for the other hosts. Returns false if it
 * does not, because too many hosts have failed. */
bool once_record_finish(struct once_record *r, int status, bool pass_on);

/* The latest run as a sentence that begins with `path`. gives */
char *once_record_describe(const struct once_record *r, const char *path);

#endif
