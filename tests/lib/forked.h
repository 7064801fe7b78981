/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a function in a child process, for tests of what ends in abort() or may crash, and says how
 * it ended and what it wrote. The child's own clean-up (sanitizers, coverage) runs. */
#ifndef TESTS_LIB_FORKED_H
#define TESTS_LIB_FORKED_H

#include "base/buf.h"

#define FORKED_SECONDS 120 /* a child that runs longer is killed (SIGALRM) */

struct forked {
    bool exited;       /* by exit, not by a signal */
    int code;          /* the exit code, or the signal's number */
    struct buf output; /* standard output and error, NUL terminated behind len; gives */
};

/* fn's result is the exit code. One thread must be running. */
void forked_run(int (*fn)(void *arg), void *arg, struct forked *out);
void forked_fini(struct forked *out);

bool forked_aborted(const struct forked *out);                /* ended by SIGABRT */
bool forked_said(const struct forked *out, const char *text); /* text is in the output */

#endif
