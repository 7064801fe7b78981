/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a command as long as this process holds a lock or an entry, and stops it if that is lost.
 *
 * The command gets its own process group. Signals to this process are passed on to the group; with
 * a terminal, the group is the terminal's foreground group. After a loss the group gets SIGTERM,
 * and SIGKILL after the grace. If this process is killed, the command gets SIGTERM: nobody could
 * tell it about a loss.
 *
 * A separate thread asks every RUN_ASK_MS whether the lock or entry is still held. A stopped daemon
 * may answer late or never; without an answer, the last one expires. */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "base/base.h"

#define RUN_ASK_MS   500
#define RUN_GRACE_MS 5000

/* The time of clock_boot_ms until which the lock or entry is certainly held. 0: it is lost.
 * UINT64_MAX: no limit. */
typedef uint64_t (*run_until_fn)(void *arg);

struct run {
    char *const *argv; /* NULL-terminated */
    run_until_fn until;
    void *arg;
    uint64_t grace_ms;
    int keep_fd; /* a descriptor that the command inherits; -1: none */
};

struct run_end {
    bool lost;      /* the command ended after the loss, or was not started because of it */
    bool signalled; /* somebody wanted it to end: a signal was passed on to it */
};

/* Runs the command to its end. Returns its exit status, 128 + the signal that killed it, or, after
 * a message, 127 or 126 if it could not be executed. Fills *end. */
int run_command(const struct run *run, struct run_end *end);

#endif
