/* SPDX-License-Identifier: Apache-2.0 */
/* The write rule (fs/writeback/writeback.h), with common programs: the number of log entries, the
 * states that another host sees meanwhile, and the result if commits fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/fs_rig.h"

#define BIG       405264 /* not a multiple of a block */
#define COMMIT_MS "delay 4"

static struct rig rig;
static char big_name[100];
static char *big; /* lines of letters, sorted */

static void make_big(void)
{
    size_t len = 0;
    FILE *file;

    big = malloc(BIG + 1);
    for (unsigned i = 0; len < BIG; i++)
        len += (size_t)snprintf(big + len, BIG + 1 - len, "%08u a line of letters\n", i);
    big[BIG - 1] = '\n';
    snprintf(big_name, sizeof(big_name), "%s/big", rig.dir);
    file = fopen(big_name, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(big, 1, BIG, file), BIG);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    (void)state;
    rig_start(&rig, 2, 0);
    make_big();
    return 0;
}

/* On a slow machine, too, a slow program's output is not committed in steps. */
static int set_up_patient(void **state)
{
    (void)state;
    rig_start_patient(&rig);
    make_big();
    return 0;
}

static int set_up_impatient(void **state)
{
    (void)state;
    rig_start_deadline(&rig, 600);
    make_big();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rig_tell(&rig, "delay 0");
    rig_stop(&rig);
    free(big);
    return 0;
}

static const char *at(unsigned i, const char *name)
{
    return rig_path(&rig, i, "%s", name);
}

static void put(const char *path, const char *text)
{
    assert_int_equal(rig_put(path, text, strlen(text)), 0);
}

/* Compares the file on the host that has applied everything. */
static void assert_content(const char *path, const void *expected, size_t len)
{
    char *buf = malloc(len + 1);

    for (unsigned i = 0; i < rig.n; i++)
        if (strncmp(path, rig.mnt[i], strlen(rig.mnt[i])) == 0)
            rig_sync(&rig, i);
    assert_int_equal(rig_get(path, buf, len + 1), (ssize_t)len);
    assert_memory_equal(buf, expected, len);
    free(buf);
}

/* Runs a command line in the first mount, with $BIG. Returns its exit status. */
static int shell(const char *interpreter, const char *command)
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);

        if (chdir(rig.mnt[0]) != 0 || dup2(null, 2) < 0)
            _exit(126);
        setenv("BIG", big_name, 1);
        execlp(interpreter, interpreter, "-c", command, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* ---- The view of another host ---------------------------------------------------------------- */

#define OLD "the old content of the file, longer than some of the new\n"

struct watcher {
    pid_t pid;
    int stop[2];
};

/* The content of a file that did not change while it was read. */
static ssize_t get_unchanged(const char *path, char *out, size_t size)
{
    struct stat before, after;
    ssize_t n = -1;

    for (unsigned tries = 0; tries < 1000; tries++) {
        if (stat(path, &before) != 0)
            return -errno;
        n = rig_get(path, out, size);
        if (stat(path, &after) != 0)
            return -errno;
        if (before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
            before.st_mtim.tv_nsec == after.st_mtim.tv_nsec && before.st_size == after.st_size)
            break;
    }
    return n;
}

/* Reads f through the second mount all the time: it must be the old content, or `ours`, or, if
 * `prefixes`, the beginning of `ours`. */
static int watch(int stop_fd, const char *ours, size_t ours_len, bool prefixes)
{
    static char buf[BIG + 1];
    char path[200];

    snprintf(path, sizeof(path), "%s/f", rig.mnt[1]);
    fcntl(stop_fd, F_SETFL, O_NONBLOCK);
    for (;;) {
        char byte;
        bool last = read(stop_fd, &byte, 1) == 0;
        ssize_t n;

        if (last)
            rig_sync(&rig, 1);
        n = get_unchanged(path, buf, sizeof(buf));

        if (n == (ssize_t)strlen(OLD) && memcmp(buf, OLD, (size_t)n) == 0 && !last)
            continue;
        if (n < 0 || (size_t)n > ours_len || memcmp(buf, ours, (size_t)n) != 0)
            return 1;
        if ((size_t)n < ours_len && !(prefixes && !last))
            return 2;
        if (last)
            return 0;
    }
}

static void watch_start(struct watcher *w, const char *ours, size_t len, bool prefixes)
{
    assert_int_equal(pipe(w->stop), 0);
    w->pid = fork();
    assert_true(w->pid >= 0);
    if (w->pid == 0) {
        close(w->stop[1]);
        _exit(watch(w->stop[0], ours, len, prefixes));
    }
    close(w->stop[0]);
}

static int watch_end(struct watcher *w)
{
    int status;

    close(w->stop[1]);
    assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static const struct {
    const char *interpreter;
    const char *command;
    unsigned entries;
    const char *content; /* NULL: big */
    size_t len;          /* of big; 0: all */
    bool prefixes;
} commands[] = {
    {"bash", "echo hi > f", 1, "hi\n", 0, false},
    {"dash", "echo hi > f", 1, "hi\n", 0, false},
    {"bash", "printf 'a\\nb\\n' > f", 2, "a\nb\n", 0, true}, /* it writes line by line */
    {"dash", "printf 'a\\nb\\n' > f", 1, "a\nb\n", 0, false},
    {"dash", "{ echo a; echo b; } > f", 2, "a\nb\n", 0, true},
    {"dash", "(echo a; echo b) > f", 2, "a\nb\n", 0, true},
    {"dash", "exec 3> f; echo a >&3", 1, "a\n", 0, false},
    {"dash", ": > f", 1, "", 0, true},
    {"bash", ": > f", 1, "", 0, true},
    {"dash", "true > f", 1, "", 0, true},
    {"dash", "cat $BIG > f", 1, NULL, 0, false},
    {"dash", "cp $BIG f", 1, NULL, 0, false},
    {"dash", "dd if=$BIG of=f bs=64k", 1, NULL, 0, false},
    {"dash", "dd if=$BIG of=f bs=4k", 1, NULL, 0, false},
    {"dash", "tee f < $BIG > /dev/null", 1, NULL, 0, false},
    {"dash", "sed s/x/y/ $BIG > f", 1, NULL, 0, false},
    {"dash", "sort $BIG > f", 1, NULL, 0, false},
    {"dash", "sort -o f $BIG", 1, NULL, 0, false},
    {"dash", "awk '{print}' $BIG > f", 1, NULL, 0, false},
    {"dash", "head -c 300001 $BIG > f", 1, NULL, 300001, false},
    {"dash", "head -c 8192 $BIG > f", 1, NULL, 8192, false}, /* at close */
    {"dash", "tail -n +1 $BIG > f", 1, NULL, 0, false},
    {"dash", "grep . $BIG > f", 1, NULL, 0, false},
    {"dash", "uniq $BIG > f", 1, NULL, 0, false},
    {"dash", "python3 -c 'import os; open(\"f\", \"w\").write(open(os.environ[\"BIG\"]).read())'",
     1, NULL, 0, false},
    {"dash", "truncate -s 0 f; cat $BIG > f", 2, NULL, 0, true},
};

static void commands_make_few_entries(void **state)
{
    (void)state;
    rig_tell(&rig, COMMIT_MS);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const char *content = commands[i].content == NULL ? big : commands[i].content;
        size_t len = commands[i].content != NULL ? strlen(content) : BIG;
        struct watcher w;
        unsigned long applied;
        int code, seen;

        if (commands[i].len != 0)
            len = commands[i].len;
        put(at(0, "f"), OLD);
        applied = rig_ask(&rig, "applied");
        watch_start(&w, content, len, commands[i].prefixes);
        usleep(3000);
        code = shell(commands[i].interpreter, commands[i].command);
        applied = rig_ask(&rig, "applied") - applied;
        seen = watch_end(&w);
        if (code != 0 || seen != 0 || applied != commands[i].entries)
            fail_msg("%s: exit code %d, seen %d, %lu entries", commands[i].command, code, seen,
                     applied);
    }
}

static void appends_are_single_entries(void **state)
{
    unsigned long applied;

    (void)state;
    put(at(0, "f"), "one\n");
    applied = rig_ask(&rig, "applied");
    assert_int_equal(shell("bash", "echo two >> f"), 0);
    assert_int_equal(shell("dash", "for i in 3 4 5; do echo $i >> f; done"), 0);
    assert_int_equal(rig_ask(&rig, "applied") - applied, 4);
    assert_content(at(1, "f"), "one\ntwo\n3\n4\n5\n", 14);
}

/* ---- Reads force commits --------------------------------------------------------------------- */

static void others_see_a_truncation(void **state)
{
    (void)state;
    put(at(0, "f"), OLD);
    assert_int_equal(shell("bash", "exec 9> f; test \"$(cat f)\" = ''"), 0);
    put(at(0, "f"), OLD);
    assert_int_equal(shell("dash", "exec 9> f; test ! -s f"), 0);
    put(at(0, "f"), OLD);
    assert_int_equal(shell("dash", "exec 9> f; head -c 8192 $BIG >&9; test $(wc -c < f) = 8192"),
                     0);
    assert_int_equal(shell("dash", "exec 9> f; head -c 8192 $BIG >&9; test $(stat -c %s f) = 8192"),
                     0);
}

static void own_reads_see_own_writes(void **state)
{
    int fd = open(at(0, "f"), O_RDWR | O_CREAT, 0644), other;
    char buf[8192];
    struct stat st;

    (void)state;
    rig_tell(&rig, "delay 50");
    assert_int_equal(write(fd, big, 8192), 8192); /* stays buffered */
    assert_int_equal(pread(fd, buf, 8192, 0), 8192);
    assert_memory_equal(buf, big, 8192);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 8192);
    assert_int_equal(pwrite(fd, big + 100000, 4096, 4096), 4096);
    assert_int_equal(pread(fd, buf, 8192, 0), 8192);
    assert_memory_equal(buf, big, 4096);
    assert_memory_equal(buf + 4096, big + 100000, 4096);
    assert_int_equal(pwrite(fd, big, 4096, 65536), 4096);
    assert_int_equal(pread(fd, buf, 100, 65500), 100);
    for (unsigned i = 0; i < 36; i++)
        assert_int_equal(buf[i], 0);
    assert_memory_equal(buf + 36, big, 64);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pread(fd, buf, 100, 0), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_int_equal(pwrite(fd, "x", 1, 10), 1);
    assert_int_equal(pread(fd, buf, 100, 0), 11);
    /* Another handle of this host, opened for reading only, sees it too. */
    assert_int_equal(pwrite(fd, big, 4096, 0), 4096);
    other = open(at(0, "f"), O_RDONLY);
    assert_int_equal(pread(other, buf, 8192, 0), 4096);
    assert_memory_equal(buf, big, 4096);
    close(other);
    close(fd);
    assert_content(at(1, "f"), big, 4096);
}

static void two_handles_keep_their_order(void **state)
{
    int a = open(at(0, "f"), O_RDWR | O_CREAT | O_TRUNC, 0644);
    int b = open(at(0, "f"), O_RDWR);
    char expected[8192];

    (void)state;
    memcpy(expected, big, 8192);
    memcpy(expected + 100, "short", 5);
    memcpy(expected + 4096, big + 4096 * 7, 4096);
    assert_int_equal(pwrite(a, big, 8192, 0), 8192);
    assert_int_equal(pwrite(b, "short", 5, 100), 5);
    assert_int_equal(pwrite(a, big + 4096 * 7, 4096, 4096), 4096);
    close(b);
    close(a);
    assert_content(at(1, "f"), expected, sizeof(expected));
}

/* Two truncations at open, then the writes: the second truncation must not undo the first write. */
static void two_truncations_are_one(void **state)
{
    int a, b;

    (void)state;
    put(at(0, "f"), OLD);
    a = open(at(0, "f"), O_WRONLY | O_TRUNC);
    b = open(at(0, "f"), O_WRONLY | O_TRUNC);
    assert_int_equal(pwrite(a, "aaaa", 4, 0), 4);
    assert_int_equal(pwrite(b, "b", 1, 0), 1);
    close(a);
    close(b);
    assert_content(at(1, "f"), "baaa", 4);
}

/* A program's writes take effect before its later changes of other entries. */
static void order_across_files(void **state)
{
    int fd = open(at(0, "data"), O_WRONLY | O_CREAT, 0644);

    (void)state;
    assert_int_equal(write(fd, big, 8192), 8192);
    assert_int_equal(mkdir(at(0, "done"), 0755), 0);
    assert_content(at(1, "data"), big, 8192);
    close(fd);
    fd = open(at(0, "tmp"), O_WRONLY | O_CREAT, 0644);
    assert_int_equal(write(fd, big, 8192), 8192);
    assert_int_equal(shell("dash", "mv tmp final"), 0);
    assert_content(at(1, "final"), big, 8192);
    close(fd);
}

static void times_set_after_writing_stay(void **state)
{
    struct timespec times[2] = {{1000, 1}, {2000, 2}};
    int fd = open(at(0, "f"), O_WRONLY | O_CREAT, 0644);
    struct stat st;

    (void)state;
    assert_int_equal(write(fd, big, 8192), 8192);
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
    rig_sync(&rig, 1);
    assert_int_equal(stat(at(1, "f"), &st), 0);
    assert_int_equal(st.st_mtim.tv_sec, 2000);
    assert_int_equal(st.st_size, 8192);
}

/* The mtime of a file, in nanoseconds. */
static int64_t mtime_of(unsigned i, const char *name)
{
    struct stat st;

    assert_int_equal(stat(at(i, name), &st), 0);
    return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

/* `: > stamp` changes an empty file on every host: make looks only at its time. */
static void emptying_an_empty_file_is_a_change(void **state)
{
    static const char *const lines[] = {": > stamp", "exec 9> stamp", "true 9<> stamp 8> stamp"};
    int64_t was;

    (void)state;
    put(at(0, "stamp"), "");
    for (unsigned i = 0; i < ARRAY_LEN(lines); i++) {
        rig_sync(&rig, 1);
        was = mtime_of(1, "stamp");
        usleep(2000);
        assert_int_equal(shell("bash", lines[i]), 0);
        assert_true(mtime_of(0, "stamp") > was);
        rig_sync(&rig, 1);
        assert_true(mtime_of(1, "stamp") > was);
    }
}

/* A writer sees the new times of its file before the commit. */
static void writing_shows_a_new_time(void **state)
{
    int fd = open(at(0, "f"), O_RDWR | O_CREAT, 0644);
    struct timespec times[2] = {{1000, 1}, {4000000000, 2}}; /* in the future */
    struct stat st;

    (void)state;
    assert_int_equal(futimens(fd, times), 0);
    assert_int_equal(write(fd, big, 8192), 8192);
    assert_int_equal(fstat(fd, &st), 0);
    assert_true(st.st_mtim.tv_sec > 2000 && st.st_mtim.tv_sec < 4000000000);
    close(fd);
}

/* ---- Time ------------------------------------------------------------------------------------ */

static bool becomes(const char *path, off_t size)
{
    struct stat st;

    for (unsigned i = 0; i < 6000; i++) {
        if (stat(path, &st) == 0 && st.st_size == size)
            return true;
        usleep(10000);
    }
    return false;
}

static void buffered_writes_are_committed_in_time(void **state)
{
    int fd;

    (void)state;
    put(at(0, "f"), OLD);
    fd = open(at(0, "f"), O_WRONLY | O_TRUNC);
    assert_true(becomes(at(1, "f"), 0)); /* a truncation without a write */
    assert_int_equal(write(fd, big, 4096), 4096);
    assert_true(becomes(at(1, "f"), 4096));
    for (unsigned i = 1; i < 20; i++) {
        assert_int_equal(write(fd, big, 4096), 4096); /* never idle, so only its age commits it */
        usleep(60000);
    }
    assert_true(becomes(at(1, "f"), 20 * 4096));
    close(fd);
}

static void much_data_is_committed_early(void **state)
{
    int fd = open(at(0, "f"), O_WRONLY | O_CREAT, 0644);
    char *block = malloc(1 << 20);

    (void)state;
    memset(block, 'x', 1 << 20);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(write(fd, block, 1 << 20), 1 << 20);
    assert_int_equal(fsync(fd), 0);
    assert_true(becomes(at(1, "f"), 20 << 20));
    close(fd);
    free(block);
}

/* ---- Trouble --------------------------------------------------------------------------------- */

/* Without a quorum, commands of a shell fail and change nothing. */
static void shell_commands_fail_without_a_quorum(void **state)
{
    static const char *const lines[] = {
        "echo hi > f",
        "cat $BIG > f",
        "cp $BIG f",
        "head -c 8192 $BIG > f",
        "sort $BIG > f",
        "awk '{print}' $BIG > f",
        "echo hi >> f",
        "{ echo a; echo b; } > f",
        "dd if=$BIG of=f bs=64k",
    };

    (void)state;
    put(at(0, "f"), OLD);
    rig_tell(&rig, "stall");
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if (shell("bash", lines[i]) == 0 || shell("dash", lines[i]) == 0)
            fail_msg("%s: no error", lines[i]);
    rig_tell(&rig, "resume");
    assert_true(becomes(at(1, "f"), (off_t)strlen(OLD)));
    assert_content(at(1, "f"), OLD, strlen(OLD));
}

/* Acknowledged content is kept and committed when the quorum is back; failed writes are not. */
static void acknowledged_writes_survive(void **state)
{
    int fd;

    (void)state;
    put(at(0, "f"), OLD);
    fd = open(at(0, "f"), O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, big, 8192), 8192);
    rig_tell(&rig, "stall");
    assert_int_equal(write(fd, "short", 5), -1);
    assert_int_equal(errno, ETIMEDOUT);
    rig_tell(&rig, "resume");
    assert_int_equal(close(fd), 0);
    assert_content(at(1, "f"), big, 8192);
}

static void nothing_changes_when_the_only_write_fails(void **state)
{
    int fd;

    (void)state;
    put(at(0, "f"), OLD);
    fd = open(at(0, "f"), O_WRONLY | O_TRUNC);
    rig_tell(&rig, "stall");
    assert_int_equal(write(fd, "short", 5), -1);
    assert_int_equal(errno, ETIMEDOUT);
    rig_tell(&rig, "resume");
    assert_int_equal(close(fd), 0);
    assert_content(at(1, "f"), OLD, strlen(OLD));
}

/* A program that retries writes what it wanted, without a tail of the old content. */
static void a_retried_write_replaces_the_content(void **state)
{
    int fd;

    (void)state;
    put(at(0, "f"), OLD);
    fd = open(at(0, "f"), O_WRONLY | O_TRUNC);
    for (unsigned i = 0; i < 2; i++) {
        rig_tell(&rig, "stall");
        assert_int_equal(write(fd, "short", 5), -1);
        assert_int_equal(errno, ETIMEDOUT);
        rig_tell(&rig, "resume");
    }
    assert_content(at(1, "f"), OLD, strlen(OLD));
    assert_int_equal(write(fd, "short", 5), 5);
    assert_int_equal(close(fd), 0);
    assert_content(at(1, "f"), "short", 5);
}

/* The same with copy_file_range(2), which cp uses. */
static void a_copy_that_fails_truncates_nothing(void **state)
{
    int from, fd;

    (void)state;
    put(at(0, "f"), OLD);
    put(at(0, "from"), "short");
    from = open(at(0, "from"), O_RDONLY);
    for (unsigned i = 0; i < 2; i++) {
        fd = open(at(0, "f"), O_WRONLY | O_TRUNC);
        rig_tell(&rig, "stall");
        assert_int_equal(copy_file_range(from, &(off_t){0}, fd, NULL, 100, 0), -1);
        assert_int_equal(errno, ETIMEDOUT);
        rig_tell(&rig, "resume");
        if (i == 1) {
            assert_int_equal(copy_file_range(from, &(off_t){0}, fd, NULL, 100, 0), 5);
            assert_content(at(1, "f"), "short", 5);
        }
        assert_int_equal(close(fd), 0);
        if (i == 0)
            assert_content(at(1, "f"), OLD, strlen(OLD));
    }
    close(from);
}

static void on_signal(int sig)
{
    (void)sig;
}

/* close waits for the quorum, but a signal interrupts it; the commit continues. */
static void close_can_be_interrupted(void **state)
{
    struct sigaction action = {.sa_handler = on_signal};
    pid_t pid, ended = 0;
    int status;

    (void)state;
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int fd = open(at(0, "f"), O_WRONLY | O_CREAT, 0644);

        sigaction(SIGUSR1, &action, NULL);
        if (write(fd, big, 8192) != 8192)
            _exit(1);
        kill(getpid(), SIGSTOP);
        _exit(close(fd) == 0 ? 0 : errno);
    }
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    rig_tell(&rig, "stall");
    kill(pid, SIGCONT);
    assert_true(rig_wait_pending(&rig, 1));
    for (unsigned i = 0; ended == 0 && i < 600; i++) { /* it may not have reached close yet */
        usleep(100000);
        kill(pid, SIGUSR1);
        ended = waitpid(pid, &status, WNOHANG);
    }
    assert_int_equal(ended, pid);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == EINTR);
    rig_tell(&rig, "resume");
    assert_true(becomes(at(1, "f"), 8192));
}

/* A process that ends closes its files as well, but signals no longer reach it. */
static void a_process_can_end(void **state)
{
    pid_t pid, ended = 0;
    int status;

    (void)state;
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int fd = open(at(0, "f"), O_WRONLY | O_CREAT, 0644);

        if (write(fd, big, 8192) != 8192)
            _exit(1);
        kill(getpid(), SIGSTOP);
        _exit(2);
    }
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    rig_tell(&rig, "stall");
    kill(pid, SIGKILL);
    for (unsigned i = 0; ended == 0 && i < 2000; i++) {
        ended = waitpid(pid, &status, WNOHANG);
        usleep(10000);
    }
    rig_tell(&rig, "resume");
    assert_int_equal(ended, pid);
    assert_true(becomes(at(1, "f"), 8192));
}

/* execve(2) closes files while it holds locks of its process, and many files in /proc wait for
 * these locks. So the thread that answers FLUSH must not read those files. Regression: the mount
 * hung, and so did every user of ps. */
static void execve_does_not_hang(void **state)
{
    pid_t pid, ended = 0;
    int status = 1;

    (void)state;
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int fd = open(at(0, "f"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

        if (write(fd, big, 8192) == 8192)
            execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    for (unsigned i = 0; ended == 0 && i < 6000; i++) {
        ended = waitpid(pid, &status, WNOHANG);
        usleep(10000);
    }
    assert_int_equal(ended, pid);
    assert_int_equal(status, 0);
    assert_true(becomes(at(1, "f"), 8192));
}

/* If the state machine refuses a write later, the writer gets the error once. */
static void lost_writes_are_reported(void **state)
{
    int fd = open(at(0, "f"), O_WRONLY | O_CREAT, 0644);
    int other = open(at(0, "f"), O_WRONLY);

    (void)state;
    assert_int_equal(write(fd, big, 8192), 8192);
    rig_tell(&rig, "fail 1 28");
    assert_int_equal(fsync(fd), -1);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(write(other, "x", 1), -1);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(write(other, "x", 1), 1);
    assert_int_equal(close(other), 0);
    assert_int_equal(close(fd), 0);
    fd = open(at(0, "f"), O_WRONLY);
    assert_int_equal(write(fd, "y", 1), 1); /* a new handle gets no error */
    assert_int_equal(close(fd), 0);
}

static void buffered_writes_are_not_lost_at_the_end(void **state)
{
    int fd;

    (void)state;
    fd = open(at(0, "f"), O_WRONLY | O_CREAT, 0644);
    assert_int_equal(write(fd, big, 8192), 8192);
    rig_tell(&rig, "stop");
    close(fd);
    waitpid(rig.pid, NULL, 0);
    fclose(rig.to);
    fclose(rig.from);
    rig_restart(&rig, 0);
    assert_content(at(0, "f"), big, 8192);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(commands_make_few_entries, set_up_patient, tear_down),
        cmocka_unit_test_setup_teardown(appends_are_single_entries, set_up, tear_down),
        cmocka_unit_test_setup_teardown(others_see_a_truncation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(own_reads_see_own_writes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_handles_keep_their_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_truncations_are_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(order_across_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(times_set_after_writing_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(emptying_an_empty_file_is_a_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writing_shows_a_new_time, set_up_patient, tear_down),
        cmocka_unit_test_setup_teardown(buffered_writes_are_committed_in_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(much_data_is_committed_early, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shell_commands_fail_without_a_quorum, set_up_impatient,
                                        tear_down),
        cmocka_unit_test_setup_teardown(acknowledged_writes_survive, set_up_impatient, tear_down),
        cmocka_unit_test_setup_teardown(nothing_changes_when_the_only_write_fails, set_up_impatient,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_retried_write_replaces_the_content, set_up_impatient,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_copy_that_fails_truncates_nothing, set_up_impatient,
                                        tear_down),
        cmocka_unit_test_setup_teardown(close_can_be_interrupted, set_up_patient, tear_down),
        cmocka_unit_test_setup_teardown(a_process_can_end, set_up_impatient, tear_down),
        cmocka_unit_test_setup_teardown(execve_does_not_hang, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lost_writes_are_reported, set_up_patient, tear_down),
        cmocka_unit_test_setup_teardown(buffered_writes_are_not_lost_at_the_end, set_up, tear_down),
    };

    rig_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
