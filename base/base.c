/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#ifdef COVERAGE
#include <gcov.h>
#define keep_coverage() __gcov_dump() /* abort() does not write the counts */
#else
#define keep_coverage() (void)0
#endif

static void (*_Atomic last_words)(void);

void die_calls(void (*fn)(void))
{
    atomic_store(&last_words, fn);
}

void die(const char *fmt, ...)
{
    void (*last)(void);
    va_list args;

    va_start(args, fmt);
    log_message_v(LOG_LEVEL_ERROR, fmt, args);
    va_end(args);
    keep_coverage();
    last = atomic_load(&last_words);
    if (last != NULL)
        last();
    abort();
}

void check_failed(const char *expr, const char *file, int line)
{
    die("%s:%d: check failed: %s", file, line, expr);
}

static void *alive(void *ptr)
{
    if (ptr == NULL)
        die("out of memory");
    return ptr;
}

void *xmalloc(size_t size)
{
    return alive(malloc(size > 0 ? size : 1));
}

void *xcalloc(size_t count, size_t size)
{
    return alive(calloc(count > 0 ? count : 1, size > 0 ? size : 1));
}

void *xrealloc(void *ptr, size_t size)
{
    return alive(realloc(ptr, size > 0 ? size : 1));
}

char *xstrdup(const char *s)
{
    return alive(strdup(s));
}

void *xmemdup(const void *data, size_t len)
{
    void *copy = xmalloc(len);

    if (len > 0)
        memcpy(copy, data, len);
    return copy;
}

char *xasprintf(const char *fmt, ...)
{
    va_list args;
    char *text;

    va_start(args, fmt);
    if (vasprintf(&text, fmt, args) < 0)
        die("out of memory");
    va_end(args);
    return text;
}
