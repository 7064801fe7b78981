/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a command as long as something is held (a lock, an entry), and stops it when that is lost.
 *
 * The command gets a process group of its own: signals that reach us are passed on to all of it;
 * with a terminal, it is the terminal's foreground group. When what is held is lost, the group gets
 * SIGTERM, and SIGKILL after a grace. When we are killed ourselves, it gets SIGTERM: nobody would
 * tell it of a loss.
 *
 * Whether it is still held is asked by a thread of its own, every RUN_ASK_MS: the answer may be
 * long in coming (a daemon that is stopped), and no answer is one, too. */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "base/base.h"

#define RUN_ASK_MS   500
#define RUN_GRACE_MS 5000

/* Until when is it surely held, on clock_boot_ms? 0: it is lost. UINT64_MAX: as long as nobody says
 * otherwise. */
typedef uint64_t (*run_until_fn)(void *arg);

struct run {
    char *const *argv; /* NULL-terminated */
    run_until_fn until;
    void *arg;
    uint64_t grace_ms;
    int keep_fd; /* a descriptor that the command inherits; -1: none */
};

/* Runs it to its end. Its exit status, 128 + the signal that killed it, 127 or 126 after a message
 * when it could not be executed. *lost: it was stopped, or ended, after the loss. */
int run_command(const struct run *run, bool *lost);

#endif
