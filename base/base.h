/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes, check(), die() and allocation, for every file.
 *
 * Three kinds of errors: check() tests invariants of the program, in production too, and aborts the
 * process if one is broken. Errors of the environment are returned as -errno. Anything that could
 * make replicas differ calls die(). */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BASE_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define BASE_NORETURN          __attribute__((noreturn))
#define BASE_UNUSED            __attribute__((unused))
#define BASE_MUST_USE          __attribute__((warn_unused_result))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Logs the message and aborts the process. Any thread. */
BASE_NORETURN BASE_PRINTF(1, 2) void die(const char *fmt, ...);

/* die() calls fn last, in its own thread, for work that must not wait for the end of the process.
 */
void die_calls(void (*fn)(void));

BASE_NORETURN void check_failed(const char *expr, const char *file, int line);

/* An invariant of the program. Stays on in production. */
#define check(expr) ((expr) ? (void)0 : check_failed(#expr, __FILE__, __LINE__))

/* Allocation: never returns NULL; dies if memory is exhausted (callers bound sizes from outside).
 * Gives memory for free(). */
void *xmalloc(size_t size) __attribute__((malloc));
void *xcalloc(size_t count, size_t size) __attribute__((malloc));
void *xrealloc(void *ptr, size_t size);
char *xstrdup(const char *s);
void *xmemdup(const void *data, size_t len);
BASE_PRINTF(1, 2) char *xasprintf(const char *fmt, ...);

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
