/* SPDX-License-Identifier: Apache-2.0 */
/* Several hosts rename one name at the same time. In each round one host moves the file, and the
 * others get ENOENT (fs/cache/moved.h). Two hard links stay two names of one file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/fs_rig.h"

#define ROUNDS 200
#define HOSTS  3

static struct rig rig;

static int set_up(void **state)
{
    (void)state;
    rig_start(&rig, HOSTS, 0);
    return 0;
}

static int set_up_strong(void **state)
{
    (void)state;
    rig_start_strong_three(&rig);
    return 0;
}

static void end_race(void);

static int tear_down(void **state)
{
    (void)state;
    end_race();
    rig_stop(&rig);
    return 0;
}

/* ---- Rounds ---------------------------------------------------------------------------------- */

struct racer {
    pthread_t thread;
    unsigned host;
    unsigned flags;
    char from[200], to[200];
    int error; /* of the last round */
};

static struct racer racers[HOSTS];
static pthread_barrier_t line;
static unsigned n_racers;
static bool running, over;

static void *race(void *arg)
{
    struct racer *r = arg;

    for (;;) {
        pthread_barrier_wait(&line);
        if (over)
            return NULL;
        r->error = renameat2(AT_FDCWD, r->from, AT_FDCWD, r->to, r->flags) == 0 ? 0 : errno;
        pthread_barrier_wait(&line);
    }
}

static void start_race(unsigned n, const char *from, const char *to, unsigned flags)
{
    n_racers = n;
    over = false;
    running = true;
    assert_int_equal(pthread_barrier_init(&line, NULL, n + 1), 0);
    for (unsigned i = 0; i < n; i++) {
        struct racer *r = &racers[i];

        *r = (struct racer){.host = i, .flags = flags};
        snprintf(r->from, sizeof(r->from), "%s/%s", rig.mnt[i], from);
        snprintf(r->to, sizeof(r->to), "%s/%s", rig.mnt[i], to);
        assert_int_equal(pthread_create(&r->thread, NULL, race, r), 0);
    }
}

static void run_round(void)
{
    pthread_barrier_wait(&line);
    pthread_barrier_wait(&line);
}

static void end_race(void)
{
    if (!running)
        return;
    running = false;
    over = true;
    pthread_barrier_wait(&line);
    for (unsigned i = 0; i < n_racers; i++)
        assert_int_equal(pthread_join(racers[i].thread, NULL), 0);
    assert_int_equal(pthread_barrier_destroy(&line), 0);
}

/* Fills the host's caches differently in each round. */
static void look_around(unsigned round)
{
    struct stat st;

    for (unsigned i = 0; i < n_racers; i++) {
        rig_sync(&rig, i);
        if ((round >> i & 1) != 0)
            stat(racers[i].from, &st);
        if ((round >> i & 2) != 0)
            stat(racers[i].to, &st);
    }
}

static void make(const char *path, bool directory)
{
    if (directory)
        assert_int_equal(mkdir(path, 0755), 0);
    else
        assert_int_equal(rig_put(path, "x", 1), 0);
}

/* One host wins; the others get ENOENT. */
static void judge_moved(unsigned round)
{
    unsigned winners = 0;

    for (unsigned i = 0; i < HOSTS; i++) {
        winners += racers[i].error == 0;
        if (racers[i].error != 0 && racers[i].error != ENOENT)
            fail_msg("round %u, host %u: error %d", round, i, racers[i].error);
    }
    if (winners != 1)
        fail_msg("round %u: %u have moved the file", round, winners);
}

static void one_moves(const char *from, const char *to, bool directory)
{
    struct stat st;

    start_race(HOSTS, from, to, 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        const char *path = racers[round % HOSTS].from;
        bool replaced = !directory && round % 2 != 0; /* the new name exists already */

        make(path, directory);
        if (replaced)
            make(racers[0].to, false);
        look_around(round);
        run_round();
        judge_moved(round);
        for (unsigned i = 0; i < HOSTS; i++) {
            rig_sync(&rig, i);
            assert_int_equal(stat(racers[i].from, &st), -1);
            assert_int_equal(stat(racers[i].to, &st), 0);
        }
        assert_int_equal(remove(racers[(round + 1) % HOSTS].to), 0);
    }
}

static void one_host_moves_a_file(void **state)
{
    (void)state;
    one_moves("a", "b", false);
}

static void one_host_moves_it_elsewhere(void **state)
{
    (void)state;
    assert_int_equal(mkdir(rig_path(&rig, 0, "here"), 0755), 0);
    assert_int_equal(mkdir(rig_path(&rig, 0, "there"), 0755), 0);
    one_moves("here/a", "there/b", false);
}

static void one_host_moves_a_directory(void **state)
{
    (void)state;
    one_moves("a", "b", true);
}

/* Each exchange takes place, and two of them restore the first state. (With more hosts, one host
 * may be overtaken twice: fs/cache/moved.h.) */
static void every_exchange_takes_effect(void **state)
{
    struct stat before, after;

    (void)state;
    start_race(2, "a", "b", RENAME_EXCHANGE);
    make(racers[0].from, false);
    make(racers[0].to, false);
    assert_int_equal(stat(racers[0].from, &before), 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        look_around(round);
        run_round();
        for (unsigned i = 0; i < n_racers; i++) {
            if (racers[i].error != 0)
                fail_msg("round %u, host %u: error %d", round, i, racers[i].error);
            rig_sync(&rig, i);
            assert_int_equal(stat(racers[i].from, &after), 0);
            if (after.st_ino != before.st_ino)
                fail_msg("round %u, host %u: an exchange was lost", round, i);
        }
    }
}

/* The two names belong to one file: the rename succeeds and has no effect. */
static void hard_links_stay(void **state)
{
    struct stat st;

    (void)state;
    start_race(HOSTS, "a", "b", 0);
    make(racers[0].from, false);
    assert_int_equal(link(racers[0].from, racers[0].to), 0);
    for (unsigned round = 0; round < ROUNDS / 4; round++) {
        unsigned host = round % HOSTS;

        rig_sync(&rig, host);
        /* Another host is moving the file, but by other names. */
        assert_int_equal(link(racers[host].from, rig_path(&rig, host, "c")), 0);
        assert_int_equal(rename(rig_path(&rig, host, "c"), rig_path(&rig, host, "d")), 0);
        run_round();
        for (unsigned i = 0; i < HOSTS; i++) {
            assert_int_equal(racers[i].error, 0);
            rig_sync(&rig, i);
            assert_int_equal(stat(racers[i].from, &st), 0);
            assert_int_equal(stat(racers[i].to, &st), 0);
            assert_int_equal(st.st_nlink, 3);
        }
        rig_sync(&rig, 0);
        assert_int_equal(unlink(rig_path(&rig, 0, "d")), 0);
    }
}

#define IN_BOTH(test)                                                                              \
    {#test, test, set_up, tear_down, NULL},                                                        \
    {                                                                                              \
#test " (strong)", test, set_up_strong, tear_down, NULL                                    \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_BOTH(one_host_moves_a_file),
        IN_BOTH(one_host_moves_it_elsewhere),
        IN_BOTH(one_host_moves_a_directory),
        IN_BOTH(every_exchange_takes_effect),
        IN_BOTH(hard_links_stay),
    };

    rig_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
