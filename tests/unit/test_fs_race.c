/* SPDX-License-Identifier: Apache-2.0 */
/* A host reads a file while another host replaces it: each read shows one state of the file, and
 * finally the last one (fs/cache/invalidate.c, fs/reading/pass.h, fs/ops/ops.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/lib/fs_rig.h"

#define LEN_MAX 3000u
#define READS   20000u
#define ROUNDS  1500u

static struct rig rig;

static int set_up(void **state)
{
    (void)state;
    rig_start(&rig, 2, 0);
    return 0;
}

static int set_up_mirror(void **state)
{
    (void)state;
    rig_start_mirror(&rig, 0, 0, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rig_stop(&rig);
    return 0;
}

static const char *at(unsigned i, const char *name)
{
    return rig_path(&rig, i, "%s", name);
}

/* ---- States of a file: different lengths, and each byte shows the state ---------------------- */

static size_t state_make(unsigned n, char *out)
{
    size_t len = 12 + n * 2654435761u % LEN_MAX;

    snprintf(out, 12, "%010u\n", n);
    for (size_t i = 11; i < len; i++)
        out[i] = (char)('!' + (n * 31 + i) % 90);
    return len;
}

static void put_state(unsigned host, unsigned n)
{
    char buf[LEN_MAX + 16];
    size_t len = state_make(n, buf);

    if (rig_put(at(host, "f"), buf, len) != 0)
        _exit(1);
}

/* The number of the state that one read(2) returns. */
static unsigned get_state(unsigned host)
{
    char buf[4096], want[LEN_MAX + 16];
    int fd = open(at(host, "f"), O_RDONLY | O_CLOEXEC);
    ssize_t len = read(fd, buf, sizeof(buf));
    unsigned n;

    close(fd);
    if (len < 11)
        fail_msg("%zd bytes", len);
    n = (unsigned)strtoul(buf, NULL, 10);
    if ((size_t)len != state_make(n, want) || memcmp(buf, want, (size_t)len) != 0)
        fail_msg("%zd bytes, which are not state %u (%zu bytes)", len, n, state_make(n, want));
    return n;
}

/* From here on, reads bypass the page cache: the file has changed while the kernel had its pages.
 */
static void begin(void)
{
    put_state(0, 1);
    rig_sync(&rig, 1);
    assert_int_equal(get_state(1), 1);
    put_state(0, 2);
    rig_sync(&rig, 1);
}

/* Before Linux 6.6 a file that bypasses the page cache cannot be mapped, so it does not bypass it.
 */
static void require_direct_maps(void)
{
    unsigned major = 0, minor = 0;
    struct utsname u;

    if (uname(&u) != 0 || sscanf(u.release, "%u.%u", &major, &minor) != 2 ||
        major * 1000 + minor < 6006)
        skip();
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void each_read_is_one_state(void **state)
{
    unsigned last = 0, n;
    int status;
    pid_t pid;

    (void)state;
    require_direct_maps();
    begin();
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        for (n = 3;; n++)
            put_state(0, n);
    for (unsigned i = 0; i < READS; i++) {
        n = get_state(1);
        if (n < last)
            fail_msg("state %u after state %u", n, last);
        last = n;
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status)); /* it was running until the signal */
    assert_true(last > 2);
}

/* ---- One pass through a file, in several steps ----------------------------------------------- */

#define SOON_MS                                                                                    \
    50 /* half of PASS_MS in fs/cache/invalidate.c, and far less than fs/reading/pass.h allows */
#define TRIES 1000 /* for a machine under load */

static int open_and_read(unsigned n, size_t len)
{
    char buf[LEN_MAX + 16], want[LEN_MAX + 16];
    int fd = open(at(1, "f"), O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    if (len == 0)
        len = sizeof(buf);
    len = min_u64(len, state_make(n, want));
    assert_int_equal(read(fd, buf, len), len);
    assert_memory_equal(buf, want, len);
    return fd;
}

/* Reads the rest of the file. */
static size_t read_rest(int fd, size_t already, char *buf)
{
    size_t len = already;
    ssize_t n;

    while ((n = read(fd, buf + len, 2 * LEN_MAX - len)) > 0)
        len += (size_t)n;
    assert_int_equal(n, 0);
    return len - already;
}

static size_t rest_of(unsigned n, size_t already)
{
    char want[LEN_MAX + 16];

    return state_make(n, want) - already;
}

/* Begins to read state n, lets another host make state n + 1, and reads on. False if it took too
 * long: then each state is allowed. */
static bool try_pass(unsigned n, size_t first)
{
    char buf[2 * LEN_MAX], want[LEN_MAX + 16];
    uint64_t began = clock_boot_ms();
    int fd = open_and_read(n, first);
    size_t len;
    bool soon;

    put_state(0, n + 1);
    len = read_rest(fd, first, buf);
    soon = clock_boot_ms() - began < SOON_MS;
    if (soon) {
        assert_int_equal(len, rest_of(n, first));
        state_make(n, want);
        assert_memory_equal(buf + first, want + first, len);
    }
    close(fd);
    rig_sync(&rig, 1);
    assert_int_equal(get_state(1), n + 1);
    return soon;
}

/* Once from the page cache, once bypassing it. */
static void a_pass_is_one_state(void **state)
{
    unsigned cached = 0, past = 0, n = 1;

    (void)state;
    require_direct_maps();
    for (unsigned i = 0; i < TRIES && (cached < 3 || past < 20); i++) {
        if (cached < 3) { /* a file that has not changed yet */
            unlink(at(0, "f"));
            put_state(0, ++n);
            rig_sync(&rig, 1);
            assert_int_equal(get_state(1), n);
            cached += try_pass(n++, 12);
        }
        past += try_pass(n, n % 2 == 0 ? 12 : rest_of(n, 0));
        n++;
    }
    assert_int_equal(cached, 3);
    assert_int_equal(past, 20);
}

/* A reader that may know of a newer state reads the newer state. */
static void a_pass_ends_with_a_lock(void **state)
{
    char buf[LEN_MAX + 16];
    unsigned n = 2;

    (void)state;
    begin();
    for (; n < 20; n++) {
        int fd = open_and_read(n, 0);
        size_t before = rest_of(n, 0), after = rest_of(n + 1, 0);
        ssize_t want = after > before ? (ssize_t)(after - before) : 0;

        put_state(0, n + 1);
        assert_int_equal(flock(fd, LOCK_SH), 0);
        assert_int_equal(read(fd, buf, sizeof(buf)), want);
        close(fd);
    }
}

/* A program that maps the file notices nothing. */
static void changing_files_can_be_mapped(void **state)
{
    static const int kinds[] = {MAP_PRIVATE, MAP_SHARED};
    char want[LEN_MAX + 16];
    size_t len;

    (void)state;
    begin();
    len = state_make(2, want);
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        int fd = open(at(1, "f"), O_RDONLY | O_CLOEXEC);
        char *map = mmap(NULL, len, PROT_READ, kinds[i], fd, 0);

        assert_ptr_not_equal(map, MAP_FAILED);
        assert_memory_equal(map, want, len);
        munmap(map, len);
        close(fd);
    }
}

/* The number of requests, once no RELEASE is outstanding. */
static unsigned long all_requests(void)
{
    unsigned long last = rig_ask(&rig, "requests"), now;

    for (unsigned i = 0; i < 100; i++, last = now) {
        usleep(20000);
        now = rig_ask(&rig, "requests");
        if (now == last)
            break;
    }
    return last;
}

static void is_not_cached(bool bypassed)
{
    unsigned long before = all_requests();

    for (unsigned i = 0; i < 20; i++)
        get_state(0);
    if (bypassed)
        assert_true(all_requests() - before >= 80); /* OPEN, READ, FLUSH, RELEASE */
    else
        assert_in_range(all_requests() - before, 60, 70); /* OPEN, FLUSH, RELEASE */
}

/* If no process here has read the file since another host wrote it, or if this host writes it, the
 * file is cached as usual. */
static void only_changing_files_bypass_the_cache(void **state)
{
    (void)state;
    require_direct_maps();
    put_state(1, 1);
    rig_sync(&rig, 0);
    get_state(0);
    is_not_cached(false);
    put_state(0, 2);
    get_state(0);
    is_not_cached(false);
    put_state(1, 3);
    rig_sync(&rig, 0);
    is_not_cached(true);
    assert_int_equal(get_state(0), 3);
}

/* ---- A change's answer is old if another host's change comes after it ------------------------ */

/* Changes an attribute of f, or adds a name to it, for each byte that it receives. */
static void change_attributes(int in, int out)
{
    char byte;

    for (unsigned n = 0; read(in, &byte, 1) == 1; n++) {
        int ret = n % 2 == 0 ? chmod(at(1, "f"), n % 4 == 0 ? 0600 : 0644)
                             : link(at(1, "f"), rig_path(&rig, 1, "link-%u", n));

        if (ret != 0 || write(out, &byte, 1) != 1)
            _exit(1);
    }
    _exit(0);
}

static void a_newer_change_is_not_forgotten(void **state)
{
    int go[2], done[2], status;
    char buf[LEN_MAX + 16], byte = 0;
    struct stat st;
    pid_t pid;

    (void)state;
    begin();
    assert_int_equal(pipe(go) | pipe(done), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(go[1]);
        change_attributes(go[0], done[1]);
    }
    close(done[1]);
    for (unsigned n = 3; n < ROUNDS; n++) {
        assert_int_equal(write(go[1], &byte, 1), 1);
        put_state(0, n);
        assert_int_equal(read(done[0], &byte, 1), 1);
        rig_sync(&rig, 1);
        assert_int_equal(stat(at(1, "f"), &st), 0);
        if (st.st_size != (off_t)state_make(n, buf))
            fail_msg("state %u: %lld bytes", n, (long long)st.st_size);
    }
    close(go[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_read_is_one_state, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pass_is_one_state, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pass_is_one_state, set_up_mirror, tear_down),
        cmocka_unit_test_setup_teardown(a_pass_ends_with_a_lock, set_up, tear_down),
        cmocka_unit_test_setup_teardown(changing_files_can_be_mapped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_changing_files_bypass_the_cache, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_newer_change_is_not_forgotten, set_up, tear_down),
    };

    rig_require();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
