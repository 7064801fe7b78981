/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void say(const char *fmt, va_list args)
{
    fprintf(stderr, "coordfs: ");
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
}

int cli_fail(int status, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    say(fmt, args);
    va_end(args);
    return status;
}

bool cli_bad(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    say(fmt, args);
    va_end(args);
    return false;
}

int cli_option(int argc, char **argv, const char *letters, const struct option *options)
{
    char *all = xasprintf("+:%s", letters); /* +: options end at the first argument */
    int c;

    opterr = 0;
    c = getopt_long(argc, argv, all, options, NULL);
    free(all);
    if (c == ':')
        cli_fail(0, "%s: option '%s' needs a value", argv[0], argv[optind - 1]);
    else if (c == '?')
        cli_fail(0, "%s: unknown option '%s' (coordfs %s --help)", argv[0], argv[optind - 1],
                 argv[0]);
    return c == ':' ? '?' : c;
}

bool cli_parse_number(const char *text, uint64_t min, uint64_t max, const char *what, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end != '\0' || errno != 0 || *out < min || *out > max)
        return cli_bad("%s: '%s' must be an integer from %llu to %llu", what, text,
                       (unsigned long long)min, (unsigned long long)max);
    return true;
}

bool cli_parse_time(const char *text, const char *what, uint64_t *out_ms)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"", 1e3}, {"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}, {"d", 86400e3}};
    char *end;
    double number = strtod(text, &end);

    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        double ms = number * units[i].ms;

        if (isdigit((unsigned char)*text) && strcmp(end, units[i].name) == 0 && ms < 1e14) {
            *out_ms = (uint64_t)(ms + 0.5);
            return true;
        }
    }
    return cli_bad("%s: '%s' must be a time (500ms, 2.5s, 10m, 1h, 1d)", what, text);
}

bool cli_parse_mode(const char *text, const char *what, uint32_t *out)
{
    char *end;
    unsigned long mode = strtoul(text, &end, 8);

    if (*text < '0' || *text > '7' || *end != '\0' || mode > 07777)
        return cli_bad("%s: '%s' must be permissions in octal, 0 to 7777", what, text);
    *out = (uint32_t)mode;
    return true;
}

char **cli_command_of(int argc, char **argv, int at)
{
    at++;
    if (at < argc && strcmp(argv[at], "--") == 0)
        at++;
    return at < argc ? argv + at : NULL;
}

unsigned cli_umask(void)
{
    mode_t mask = umask(0);

    umask(mask);
    return mask;
}
