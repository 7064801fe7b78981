/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a function in a child process, for tests of code that ends in abort() or may crash, and
 * returns the child's output and the way it ended. The child's own clean-up (sanitizers, coverage)
 * runs. */
#ifndef TESTS_LIB_FORKED_H
#define TESTS_LIB_FORKED_H

#include "base/buf.h"

#define FORKED_SECONDS 120 /* a child that runs longer is killed (SIGALRM) */

struct forked {
    bool exited;       /* by exit, not by a signal */
    int code;          /* the exit code, or the signal's number */
    struct buf output; /* standard output and error, NUL terminated behind len; gives */
};

/* The result of fn is the exit code. Call it while the process has one thread. */
void forked_run(int (*fn)(void *arg), void *arg, struct forked *out);
void forked_fini(struct forked *out);

bool forked_aborted(const struct forked *out);                /* ended by SIGABRT */
bool forked_said(const struct forked *out, const char *text); /* true if the output contains the
                                                               * text */

#endif
