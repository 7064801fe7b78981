/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: one function per command. It gets its name in argv[0] and its arguments behind
 * it, and returns the exit status. A message is one line on standard error. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/base.h"

/* 3: a condition (a version …) does not hold. 75 (EX_TEMPFAIL): the lock or the entry was lost
 * while the user's command ran. lock, elect, once and hold exit with the status of the user's
 * command, or with 128 + the signal that killed it; 126 and 127 mean the same as in a shell. */
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
/* getopt_long(3) for commands. It stops at the first argument that is not an option. For an unknown
 * option or a missing value it prints a message and returns '?'. */
int cli_option(int argc, char **argv, const char *letters, const struct option *options);

/* Parses an integer from min to max. False after a message that begins with `what`. */
bool cli_parse_number(const char *text, uint64_t min, uint64_t max, const char *what,
                      uint64_t *out);
/* Parses a time: a number, fractions allowed, and a unit (ms, s, m, h, d; none: seconds). */
bool cli_parse_time(const char *text, const char *what, uint64_t *out_ms);
/* Parses permissions in octal. */
bool cli_parse_mode(const char *text, const char *what, uint32_t *out);
/* The user's command: the arguments behind argv[at], without a "--" before them. NULL: none. */
char **cli_command_of(int argc, char **argv, int at);

#endif
