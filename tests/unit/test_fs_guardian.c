/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon dies while one of its threads waits in the kernel for an event that only an answer of
 * the daemon could cause (fs/kernel/guardian.h). The daemon and the processes that wait for it must
 * end all the same. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/fs_rig.h"

#define PATIENCE_MS 60000

static struct rig rig;

/* True if a thread of the process sleeps uninterruptibly. */
static bool is_stuck(pid_t pid)
{
    char path[64], line[512];
    const struct dirent *e;
    bool stuck = false;
    FILE *file;
    DIR *tasks;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    tasks = opendir(path);
    assert_non_null(tasks);
    while (!stuck && (e = readdir(tasks)) != NULL) {
        snprintf(path, sizeof(path), "/proc/%d/task/%.20s/status", (int)pid, e->d_name);
        file = e->d_name[0] == '.' ? NULL : fopen(path, "re");
        while (file != NULL && !stuck && fgets(line, sizeof(line), file) != NULL)
            stuck = strncmp(line, "State:\tD", 8) == 0;
        if (file != NULL)
            fclose(file);
    }
    closedir(tasks);
    return stuck;
}

/* Starts a process that makes a directory in d, and gets no answer. Meanwhile the kernel is told to
 * forget another name in d. Returns the pid. */
static pid_t wedge(void)
{
    char command[100];
    struct stat st;
    pid_t pid;

    rig_start(&rig, 2, 3600000);
    assert_int_equal(mkdir(rig_path(&rig, 1, "d"), 0755), 0);
    assert_int_equal(rig_put(rig_path(&rig, 1, "d/f"), "x", 1), 0);
    assert_int_equal(stat(rig_path(&rig, 1, "d/f"), &st), 0);
    assert_int_equal(stat(rig_path(&rig, 1, "d"), &st), 0);
    rig_tell(&rig, "delay 3600000");
    pid = fork();
    if (pid == 0)
        _exit(mkdir(rig_path(&rig, 1, "d/new"), 0755) == 0 ? 0 : errno);
    assert_true(rig_wait_pending(&rig, 1));
    snprintf(command, sizeof(command), "wedge 1 %llu f", (unsigned long long)st.st_ino);
    rig_tell(&rig, command);
    for (unsigned ms = 0; !is_stuck(rig.pid); ms += 5) {
        assert_true(ms < PATIENCE_MS);
        usleep(5000);
    }
    return pid;
}

/* rig_kill fails if the server does not end. */
static void check_ends(pid_t waiter)
{
    int status = 0;

    rig_kill(&rig);
    assert_int_equal(waitpid(waiter, &status, 0), waiter);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == ENOTCONN || WEXITSTATUS(status) == ECONNABORTED);
    rig_restart(&rig, 0);
    rig_sync(&rig, 1);
    rig_stop(&rig);
}

static void test_killed(void **state)
{
    (void)state;
    check_ends(wedge());
}

static void test_dies(void **state)
{
    pid_t waiter = wedge();

    (void)state;
    fputs("die\n", rig.to);
    fflush(rig.to);
    for (unsigned ms = 0; ms < PATIENCE_MS && rig_get(rig_path(&rig, 0, "d/f"), NULL, 0) >= 0;
         ms += 10)
        usleep(10000);
    check_ends(waiter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_dies),
    };

    rig_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
