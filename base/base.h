/* SPDX-License-Identifier: Apache-2.0 */
/* What every file may use: attributes, check() and die().
 *
 * Three kinds of wrong (docs/ARCHITECTURE.md): a broken invariant is check()ed, in production too,
 * and stops the process; trouble in the environment is returned as -errno; what could make replicas
 * differ is a die(). */
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

/* What die() calls last, in the thread that dies: what may not wait for the process's end. */
void die_calls(void (*fn)(void));

BASE_NORETURN void check_failed(const char *expr, const char *file, int line);

/* An invariant of the program. Stays on in production. */
#define check(expr) ((expr) ? (void)0 : check_failed(#expr, __FILE__, __LINE__))

/* Allocation: never NULL, dies when memory is out (sizes from outside are bounded before).
 * Gives memory that free() releases. */
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
