/* SPDX-License-Identifier: Apache-2.0 */
/* A local process that lists a directory into memory whose pages do not come: the kernel keeps the
 * directory locked, and nothing about it can be told to the kernel. Locks, barriers and changes
 * elsewhere go on; the names of the directory are right and its events come when the lock is free.
 * (Until then even stat(2) of a name in it may hang, as on a local filesystem: whatever needs the
 * lock for a change is in front.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/lib/fs_rig.h"

#define LONG_MS  600000 /* longer than the test may take: nobody loses patience */
#define SHORT_MS 1000
#define WAIT_MS  60000
#define HUNG_S   90 /* after that a call hangs, and the test with it */
#define MEMORY   65536u

static struct rig rig;

/* ---- Rigs -------------------------------------------------------------------------------------*/

static int set_up(void **state)
{
    (void)state;
    rig_start_mirror(&rig, LONG_MS, 0, NULL);
    return 0;
}

static int set_up_impatient(void **state)
{
    (void)state;
    rig_start_mirror(&rig, SHORT_MS, 0, NULL);
    return 0;
}

/* Names are invalidated, without events. */
static int set_up_plain(void **state)
{
    (void)state;
    rig_start(&rig, 2, SHORT_MS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rig_stop(&rig);
    return 0;
}

/* ---- Files ------------------------------------------------------------------------------------*/

static bool exists(unsigned i, const char *name)
{
    struct stat st;

    return lstat(rig_path(&rig, i, "%s", name), &st) == 0;
}

static void make(unsigned i, const char *name)
{
    assert_int_equal(mkdir(rig_path(&rig, i, "%s", name), 0755), 0);
}

static void put(unsigned i, const char *name)
{
    assert_int_equal(rig_put(rig_path(&rig, i, "%s", name), "x", 1), 0);
}

static void take(unsigned i, const char *name)
{
    assert_int_equal(unlink(rig_path(&rig, i, "%s", name)), 0);
}

/* What the second host's kernel believes. */
static void let_it_believe(void)
{
    put(0, "lock");
    make(0, "held");
    put(0, "held/gone");
    make(0, "free");
    put(0, "free/gone");
    rig_sync(&rig, 1);
    assert_true(exists(1, "held/gone") && !exists(1, "held/made"));
    assert_true(exists(1, "free/gone") && !exists(1, "free/made"));
}

static void change(const char *dir)
{
    char name[64];

    snprintf(name, sizeof(name), "%s/gone", dir);
    take(0, name);
    snprintf(name, sizeof(name), "%s/made", dir);
    make(0, name);
}

static void assert_fresh(const char *dir)
{
    char name[64];

    snprintf(name, sizeof(name), "%s/gone", dir);
    assert_true(!exists(1, name));
    snprintf(name, sizeof(name), "%s/made", dir);
    assert_true(exists(1, name));
}

/* Promise P4: the holder sees what was changed before. */
static void lock(void)
{
    int fd = open(rig_path(&rig, 1, "lock"), O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    close(fd);
}

/* ---- A directory that is locked in the kernel -------------------------------------------------*/

struct holder {
    pthread_t thread;
    int dir;
    int pages; /* tells of the page that the listing waits for */
    char *memory;
    long got;
};

static void *list(void *arg)
{
    struct holder *h = arg;

    h->got = syscall(SYS_getdents64, h->dir, h->memory, MEMORY);
    return NULL;
}

static void await_fault(const struct holder *h)
{
    struct pollfd fd = {.fd = h->pages, .events = POLLIN};
    struct uffd_msg msg;

    assert_int_equal(poll(&fd, 1, WAIT_MS), 1);
    assert_int_equal(read(h->pages, &msg, sizeof(msg)), sizeof(msg));
    assert_int_equal(msg.event, UFFD_EVENT_PAGEFAULT);
}

static void hold(struct holder *h, const char *name)
{
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register range = {.mode = UFFDIO_REGISTER_MODE_MISSING};

    h->pages = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    assert_true(h->pages >= 0);
    assert_int_equal(ioctl(h->pages, UFFDIO_API, &api), 0);
    h->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(h->memory != MAP_FAILED);
    range.range.start = (uintptr_t)h->memory;
    range.range.len = MEMORY;
    assert_int_equal(ioctl(h->pages, UFFDIO_REGISTER, &range), 0);
    h->dir = open(rig_path(&rig, 1, "%s", name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(h->dir >= 0);
    assert_int_equal(pthread_create(&h->thread, NULL, list, h), 0);
    await_fault(h);
}

static void let_go(struct holder *h)
{
    struct uffdio_zeropage zero = {.range = {.start = (uintptr_t)h->memory, .len = MEMORY}};

    assert_int_equal(ioctl(h->pages, UFFDIO_ZEROPAGE, &zero), 0);
    assert_int_equal(pthread_join(h->thread, NULL), 0);
    assert_true(h->got > 0);
    close(h->dir);
    close(h->pages);
    munmap(h->memory, MEMORY);
}

/* ---- Events -----------------------------------------------------------------------------------*/

static int watch(const char *name)
{
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

    assert_true(fd >= 0);
    assert_true(inotify_add_watch(fd, rig_path(&rig, 1, "%s", name), IN_CREATE | IN_DELETE) >= 0);
    return fd;
}

/* The next event is this one. */
static void expect(int fd, uint32_t mask, const char *name)
{
    union {
        struct inotify_event event;
        char bytes[sizeof(struct inotify_event) + 256];
    } got;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    ssize_t n;

    assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
    /* One at a time: no other fits. */
    n = read(fd, &got, sizeof(struct inotify_event) + 16);
    assert_true(n > 0);
    assert_int_equal(got.event.mask & (IN_CREATE | IN_DELETE), mask);
    assert_string_equal(got.event.name, name);
}

static void expect_changes(int fd)
{
    expect(fd, IN_DELETE, "gone");
    expect(fd, IN_CREATE, "made");
    close(fd);
}

/* ---- Tests ------------------------------------------------------------------------------------*/

/* One directory is held. Everything elsewhere goes on, again and again. */
static void go_on(void)
{
    char name[32];

    change("held");
    change("free");
    rig_sync(&rig, 1);
    lock();
    assert_fresh("free");
    for (unsigned i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "free/n%u", i);
        make(0, name);
        lock();
        assert_true(exists(1, name));
        snprintf(name, sizeof(name), "held/n%u", i);
        make(0, name);
        rig_sync(&rig, 1);
    }
}

static unsigned long long missed(void)
{
    unsigned long long done, refused, n;
    int on, pid;

    assert_int_equal(
        sscanf(rig_tell(&rig, "mirror 1"), "%d %d %llu %llu %llu", &on, &pid, &done, &refused, &n),
        5);
    return n;
}

static void a_held_directory_delays_only_its_users(void **state)
{
    struct holder holder;
    int held, free;

    (void)state;
    let_it_believe();
    held = watch("held");
    free = watch("free");
    hold(&holder, "held");
    go_on();
    expect_changes(free);
    let_go(&holder);
    expect_changes(held);
    rig_sync(&rig, 1);
    assert_fresh("held");
    assert_true(exists(1, "held/n4"));
    assert_int_equal(missed(), 0);
}

/* The kernel keeps the listing: then a page of it is locked, and the page lane waits. */
static void a_held_listing_delays_only_its_users(void **state)
{
    struct holder holder;
    char memory[4096];
    int dir;

    (void)state;
    let_it_believe();
    for (unsigned i = 0; i < 3; i++) {
        dir = open(rig_path(&rig, 1, "held"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(dir >= 0);
        while (syscall(SYS_getdents64, dir, memory, sizeof(memory)) > 0)
            continue;
        close(dir);
    }
    hold(&holder, "held");
    go_on();
    let_go(&holder);
    rig_sync(&rig, 1);
    assert_fresh("held");
}

static void names_without_a_mirror(void **state)
{
    struct holder holder;

    (void)state;
    let_it_believe();
    hold(&holder, "held");
    go_on();
    let_go(&holder);
    rig_sync(&rig, 1);
    assert_fresh("held");
}

static bool is_fresh(const char *gone, const char *made)
{
    return !exists(1, gone) && exists(1, made);
}

/* All names cannot be forgotten: barriers lose their patience with the directory, until it is free.
 */
static void what_is_mounted_stays(void **state)
{
    struct holder holder;
    uint64_t end;

    (void)state;
    let_it_believe();
    make(0, "over");
    rig_sync(&rig, 1);
    assert_int_equal(mount("tmpfs", rig_path(&rig, 1, "over"), "tmpfs", 0, NULL), 0);
    put(1, "over/below");
    hold(&holder, "held");
    go_on();
    let_go(&holder);
    for (end = clock_boot_ms() + WAIT_MS; !is_fresh("held/gone", "held/made");)
        assert_true(clock_boot_ms() < end);
    assert_true(exists(1, "over/below"));
    assert_int_equal(umount2(rig_path(&rig, 1, "over"), 0), 0);
}

/* More directories than there are threads for them. */
static void many_held_directories(void **state)
{
    enum { N = 80 };
    static struct holder holders[N];
    char name[32];
    uint64_t end;

    (void)state;
    let_it_believe();
    for (unsigned i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "h%u", i);
        make(0, name);
    }
    rig_sync(&rig, 1);
    for (unsigned i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "h%u", i);
        hold(&holders[i], name);
        snprintf(name, sizeof(name), "h%u/made", i);
        make(0, name);
    }
    change("free");
    rig_sync(&rig, 1);
    lock();
    if (rig_can_forget_all())
        assert_fresh("free");
    for (unsigned i = 0; i < N; i++)
        let_go(&holders[i]);
    for (unsigned i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "h%u/made", i);
        for (end = clock_boot_ms() + WAIT_MS; !exists(1, name);)
            assert_true(clock_boot_ms() < end);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_held_directory_delays_only_its_users, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_held_listing_delays_only_its_users, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_without_a_mirror, set_up_plain, tear_down),
        cmocka_unit_test_setup_teardown(what_is_mounted_stays, set_up_impatient, tear_down),
        cmocka_unit_test_setup_teardown(many_held_directories, set_up_impatient, tear_down),
    };

    rig_require();
    alarm(HUNG_S);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
