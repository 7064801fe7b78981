/* SPDX-License-Identifier: Apache-2.0 */
/* The process's log: one line per message, to standard error, a file or syslog. Each line is one
 * write. A line begins with the time in UTC: 2026-01-31T12:00:00.000Z (syslog adds its own). Any
 * thread.
 *
 * A problem is logged once: where the program decides what to do about it. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdarg.h>

#include "base/base.h"

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
};

/* Messages above `level` are dropped. Default: LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);

/* Sets the name in every line, e.g. "coordfsd[2]". Borrows for the life of the process. */
void log_set_name(const char *name);

/* Logs to this descriptor, not to standard error. Borrows it. */
void log_to_fd(int fd);

/* Logs to syslog (facility daemon), for a daemon that has detached from its terminal. */
void log_to_syslog(void);

BASE_PRINTF(2, 3) void log_message(enum log_level level, const char *fmt, ...);
BASE_PRINTF(2, 0) void log_message_v(enum log_level level, const char *fmt, va_list args);

#define log_error(...) log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_message(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
