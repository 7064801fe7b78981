/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdio.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

static _Atomic(enum log_level) max_level = LOG_LEVEL_INFO;
static const char *process_name = "coordfs";
static int log_fd = STDERR_FILENO;
static bool syslog_open;

static const struct {
    const char *name;
    int priority;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", LOG_ERR},
    [LOG_LEVEL_WARN] = {"warning", LOG_WARNING},
    [LOG_LEVEL_INFO] = {"info", LOG_INFO},
    [LOG_LEVEL_DEBUG] = {"debug", LOG_DEBUG},
};

void log_set_level(enum log_level level)
{
    max_level = level;
}

void log_set_name(const char *name)
{
    process_name = name;
}

void log_to_fd(int fd)
{
    log_fd = fd;
}

void log_to_syslog(void)
{
    openlog(process_name, LOG_PID, LOG_DAEMON);
    syslog_open = true;
}

static void write_line(enum log_level level, const char *text)
{
    char line[1200];
    char stamp[32];
    struct timespec now;
    struct tm tm;
    int len;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    len = snprintf(line, sizeof line, "%s.%03ldZ %s: %s: %s\n", stamp, now.tv_nsec / 1000000,
                   process_name, levels[level].name, text);
    if (len >= (int)sizeof line)
        len = (int)sizeof line - 1;
    if (write(log_fd, line, (size_t)len) < 0)
        return; /* an error of the log cannot be logged */
}

void log_message_v(enum log_level level, const char *fmt, va_list args)
{
    char text[1024];

    if (level > max_level)
        return;
    vsnprintf(text, sizeof text, fmt, args);
    if (syslog_open)
        syslog(levels[level].priority, "%s", text);
    else
        write_line(level, text);
}

void log_message(enum log_level level, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    log_message_v(level, fmt, args);
    va_end(args);
}
