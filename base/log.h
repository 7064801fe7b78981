/* SPDX-License-Identifier: Apache-2.0 */
/* The process's log: one line per message, to standard error and, once log_to_syslog() was called,
 * to syslog instead. Lines are written whole. Any thread.
 *
 * A problem is logged once, where it is decided what to do about it. */
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

/* A name put before every line, e.g. "coordfsd[2]". Borrows; must outlive the process. */
void log_set_name(const char *name);

/* From now on to this descriptor instead of standard error. It stays the caller's. */
void log_to_fd(int fd);

/* From now on to syslog (facility daemon). For a daemon that has detached from its terminal. */
void log_to_syslog(void);

BASE_PRINTF(2, 3) void log_message(enum log_level level, const char *fmt, ...);
BASE_PRINTF(2, 0) void log_message_v(enum log_level level, const char *fmt, va_list args);

#define log_error(...) log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_message(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_message(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
