/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: one function a command. Each gets the arguments behind its name (argv[0] is
 * the name) and returns the exit status; messages go to standard error, one line. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/base.h"

/* 3: a condition (a version …) does not hold. 75 (EX_TEMPFAIL): what was held, a lock or an entry,
 * was lost while the command ran. A command that was run ends with its own status, or 128 and the
 * number of the signal that killed it, 126 and 127 as in a shell. */
enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_MISMATCH = 3, CLI_LOST = 75 };
/* A command returns it if its arguments are too few or too many: main prints the command's usage
 * and exits with CLI_USAGE. */
#define CLI_SHOW_USAGE (-1)

int cli_status(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_sync(int argc, char **argv);
int cli_stat(int argc, char **argv);
int cli_create(int argc, char **argv);
int cli_put(int argc, char **argv);
int cli_get(int argc, char **argv);
int cli_rm(int argc, char **argv);
int cli_txn(int argc, char **argv);
int cli_lock(int argc, char **argv);
int cli_elect(int argc, char **argv);
int cli_once(int argc, char **argv);
int cli_hold(int argc, char **argv);
int cli_locks(int argc, char **argv);
int cli_sessions(int argc, char **argv);
int cli_watch(int argc, char **argv);

/* Prints "coordfs: …" to standard error; returns status. */
BASE_PRINTF(2, 3) int cli_fail(int status, const char *fmt, ...);
/* The same; returns false. */
BASE_PRINTF(1, 2) bool cli_bad(const char *fmt, ...);

unsigned cli_umask(void); /* of this process */

struct option;
/* getopt_long(3) for commands: stops at the first argument that is no option; what is not known, or
 * lacks its argument, is '?' after a message. */
int cli_option(int argc, char **argv, const char *letters, const struct option *options);

/* A whole number from min to max; false after a message that names `what`. */
bool cli_parse_number(const char *text, uint64_t min, uint64_t max, const char *what,
                      uint64_t *out);
/* A time: a number, also with a fraction, and a unit (ms, s, m, h, d; none: seconds). */
bool cli_parse_time(const char *text, const char *what, uint64_t *out_ms);
/* Permissions in octal. */
bool cli_parse_mode(const char *text, const char *what, uint32_t *out);
/* The words behind the first argument that is no option (at `at`), with or without "--" before
 * them; NULL: there are none. */
char **cli_command_of(int argc, char **argv, int at);

#endif
