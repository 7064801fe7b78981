/* The command line: one function a command. Each gets the arguments behind its name (argv[0] is
 * the name) and returns the exit status; messages go to standard error, one line. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/base.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

int cli_status(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_sync(int argc, char **argv);

/* Prints "coordfs: …" to standard error; returns status. */
BASE_PRINTF(2, 3) int cli_fail(int status, const char *fmt, ...);

#endif
