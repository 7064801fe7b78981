/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/forked.h"

static void say_all(void)
{
    log_error("text-%d", LOG_LEVEL_ERROR);
    log_warn("text-%d", LOG_LEVEL_WARN);
    log_info("text-%d", LOG_LEVEL_INFO);
    log_debug("text-%d", LOG_LEVEL_DEBUG);
}

static int log_at(void *arg)
{
    enum log_level *level = arg;

    if (level != NULL)
        log_set_level(*level);
    log_set_name("tester[7]");
    say_all();
    return 0;
}

static void assert_levels_up_to(enum log_level max, const struct forked *end)
{
    for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        char *text = xasprintf("text-%d\n", level);

        assert_int_equal(forked_said(end, text), level <= (int)max);
        free(text);
    }
}

static void test_level_filters(void **state BASE_UNUSED)
{
    for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        enum log_level max = (enum log_level)level;
        struct forked end;

        forked_run(log_at, &max, &end);
        assert_true(end.exited && end.code == 0);
        assert_levels_up_to(max, &end);
        forked_fini(&end);
    }
}

static void test_default_is_info(void **state BASE_UNUSED)
{
    struct forked end;

    forked_run(log_at, NULL, &end);
    assert_levels_up_to(LOG_LEVEL_INFO, &end);
    assert_true(forked_said(&end, "tester[7]: error: text-0\n"));
    assert_true(forked_said(&end, "tester[7]: warning: text-1\n"));
    assert_true(forked_said(&end, "tester[7]: info: text-2\n"));
    forked_fini(&end);
}

/* A line that is too long is cut, and is still one whole line. */
static int log_long(void *arg BASE_UNUSED)
{
    char *text = xmalloc(5001);

    memset(text, 'x', 5000);
    text[5000] = 0;
    log_info("%s", text);
    log_info("after");
    free(text);
    return 0;
}

static void test_long_lines(void **state BASE_UNUSED)
{
    struct forked end;

    forked_run(log_long, NULL, &end);
    assert_true(end.exited && end.code == 0);
    assert_true(forked_said(&end, "xxxx\n"));
    assert_true(forked_said(&end, ": after\n"));
    forked_fini(&end);
}

static void *log_many(void *arg)
{
    for (int i = 0; i < 200; i++)
        log_info("<%s>", (const char *)arg);
    return NULL;
}

static int log_from_threads(void *arg BASE_UNUSED)
{
    static char text[2][300];
    pthread_t threads[2];

    for (int i = 0; i < 2; i++) {
        memset(text[i], 'a' + i, sizeof text[i] - 1);
        check(pthread_create(&threads[i], NULL, log_many, text[i]) == 0);
    }
    for (int i = 0; i < 2; i++)
        check(pthread_join(threads[i], NULL) == 0);
    return 0;
}

static void assert_whole(const char *line)
{
    const char *at = strchr(line, '<');

    assert_non_null(at);
    assert_int_equal(strspn(at + 1, (char[]){at[1], 0}), 299);
    assert_string_equal(at + 300, ">");
}

static void test_lines_are_whole(void **state BASE_UNUSED)
{
    struct forked end;
    char *rest, *line;
    unsigned lines = 0;

    forked_run(log_from_threads, NULL, &end);
    assert_true(end.exited && end.code == 0);
    rest = (char *)end.output.data;
    for (line = strsep(&rest, "\n"); rest != NULL; line = strsep(&rest, "\n"), lines++)
        assert_whole(line);
    assert_int_equal(lines, 400);
    forked_fini(&end);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_level_filters),
        cmocka_unit_test(test_default_is_info),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_lines_are_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
