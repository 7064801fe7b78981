/* SPDX-License-Identifier: Apache-2.0 */
/* Counters under locks. A thread reads a counter and writes the next number while it holds the
 * counter's lock. So all numbers that were certainly written are different, and the final value is
 * between their count and that count plus the number of writes in doubt.
 *
 *   flock       One counter, in a directory that its lock guards, written through another handle.
 *               The state machine refuses a write by a session that has lost the lock. Each holder
 *               notes when it got the lock, and the fencing token. A holder that still has the lock
 *               a little later (COORDFS_IOC_LEASE) has had it all the time, so such holders follow
 *               one another in the order of their tokens. One thread for each mount, because a
 *               guard distinguishes sessions, not threads.
 *   fcntl, ofd  Several counters in one file, each under a lock of its range, written through the
 *               handle that holds the lock. Some steps only read twice under a shared lock. */
#include "tests/chaos/chaos.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "proto/ioctl.h"

#define LOCK_FILE  "flock/lock"
#define COUNT_FILE "flock/guarded/count"
#define SLOTS      3
#define SLOT       24 /* bytes of a counter */
#define FREE_S     70 /* a session's ttl, an election, and 60 s */

bool lock_held(int fd)
{
    uint64_t session = 0;

    return ioctl(fd, COORDFS_IOC_LEASE, &session) == 0 && session != 0;
}

static void format_slot(char out[SLOT + 1], uint64_t value)
{
    snprintf(out, SLOT + 1, "%0*" PRIu64 "\n", SLOT - 1, value);
}

/* Reads a counter at an offset: 0 or an errno. */
static int read_slot(int fd, off_t at, uint64_t *value)
{
    char text[SLOT + 1] = "", again[SLOT + 1];
    ssize_t n = pread(fd, text, SLOT, at);

    if (n < 0)
        return errno;
    *value = strtoull(text, NULL, 10);
    format_slot(again, *value);
    if (n != SLOT || strcmp(text, again) != 0)
        violation("a counter is '%s', %zd bytes", text, n);
    return 0;
}

static int write_slot(int fd, off_t at, uint64_t value)
{
    char text[SLOT + 1];
    ssize_t n;

    format_slot(text, value);
    n = pwrite(fd, text, SLOT, at);
    return n < 0 ? errno : n == SLOT ? 0 : EPROTO;
}

/* Compares the numbers that were written to one counter with its final value. */
static void verify_counter(const struct notes *all, unsigned slot, uint64_t value)
{
    uint64_t done = 0, doubt = 0, last = 0;

    for (size_t i = 0; i < all->n; i++) {
        const struct note *n = &all->at[i];

        if (n->what != slot)
            continue;
        if (n->return_ns == UINT64_MAX) {
            doubt++;
            continue;
        }
        done++;
        if (n->number == last)
            violation("counter %u: %" PRIu64 " was written twice, then by worker %u", slot, last,
                      n->worker);
        last = n->number;
    }
    if (value < done || value > done + doubt || value < last)
        violation("counter %u shows %" PRIu64 ", after %" PRIu64 " increments, %" PRIu64
                  " in doubt, the last one to %" PRIu64,
                  slot, value, done, doubt, last);
}

/* ---- flock ----------------------------------------------------------------------------------- */

void guard_dir(int root, const char *dir, const char *lock_file)
{
    char *path = xasprintf("/%s", lock_file);
    int fd = openat(root, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsetxattr(fd, "user.coordfs.guard", path, strlen(path), 0) != 0)
        die("user.coordfs.guard: %s", strerror(errno));
    close(fd);
    free(path);
}

static void flock_prepare(int root)
{
    char zero[SLOT + 1];

    format_slot(zero, 0);
    make_dir(root, "flock");
    make_dir(root, "flock/guarded");
    make_file(root, LOCK_FILE, "lock\n");
    make_file(root, COUNT_FILE, zero);
    guard_dir(root, "flock/guarded", LOCK_FILE);
}

static uint64_t read_fence(int fd)
{
    char text[32] = "";

    if (fgetxattr(fd, "user.coordfs.fence", text, sizeof(text) - 1) < 0)
        return 0;
    return strtoull(text, NULL, 10);
}

/* Increments as the holder. EACCES: the lock is lost, and nothing was written. */
static void count_guarded(struct worker *w, struct note *n)
{
    int fd = openat(w->root, COUNT_FILE, O_RDWR | O_CLOEXEC);
    int err = fd < 0 ? errno : read_slot(fd, 0, &n->number);

    if (err != 0) {
        excused(w, err, "reading the counter");
    } else {
        usleep((useconds_t)chance(w, 3000)); /* the lock may be lost meanwhile */
        n->number++;
        err = write_slot(fd, 0, n->number);
        if (err != EACCES) {
            n->return_ns = counted(w, err, "counting") ? now_ns() : UINT64_MAX;
            note_add(&w->notes, n);
        }
    }
    if (fd >= 0)
        close(fd);
}

static void flock_step(struct worker *w)
{
    struct note n = {.worker = w->id};
    int fd = openat(w->root, LOCK_FILE, O_RDWR | O_CLOEXEC);

    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
        excused(w, errno, "flock");
    } else {
        n.call_ns = now_ns();
        n.fence = read_fence(fd);
        if (lock_held(fd)) {
            if (n.fence == 0)
                violation("worker %u holds the lock without a token", w->id);
            note_add(&w->other, &n);
            count_guarded(w, &n);
        }
    }
    if (fd >= 0)
        close(fd);
}

/* Checks that a lock of any kind can be taken again. */
static void verify_free(int root, const char *path, bool (*take)(int fd))
{
    uint64_t end = now_ns() + FREE_S * 1000000000ull;
    int fd = openat(root, path, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        violation("%s: %s", path, strerror(errno));
    while (fd >= 0 && !take(fd)) {
        if (now_ns() > end) {
            violation("the lock on %s is not free again: %s", path, strerror(errno));
            break;
        }
        usleep(50000);
    }
    if (fd >= 0)
        close(fd);
}

static bool take_flock(int fd)
{
    return flock(fd, LOCK_EX | LOCK_NB) == 0;
}

void verify_free_flock(int root, const char *lock_file)
{
    verify_free(root, lock_file, take_flock);
}

static void verify_tokens(void)
{
    struct notes held = notes_all(true, by_call);
    struct notes counts = notes_all(false, by_number);

    for (size_t i = 1; i < held.n; i++)
        if (held.at[i].fence <= held.at[i - 1].fence)
            violation("two holders: worker %u with token %" PRIu64 ", %" PRIu64
                      " us later worker %u with token %" PRIu64,
                      held.at[i - 1].worker, held.at[i - 1].fence,
                      (held.at[i].call_ns - held.at[i - 1].call_ns) / 1000, held.at[i].worker,
                      held.at[i].fence);
    for (size_t i = 0, last = 0; i < counts.n; i++) {
        if (counts.at[i].return_ns == UINT64_MAX)
            continue;
        if (counts.at[i].fence <= last)
            violation("%" PRIu64 " was counted under token %" PRIu64 ", after token %zu",
                      counts.at[i].number, counts.at[i].fence, last);
        last = counts.at[i].fence;
    }
    free(held.at);
    free(counts.at);
}

static void flock_verify(int root)
{
    struct notes all = notes_all(false, by_number);
    char text[CHAOS_NAME];
    int err = get_text(root, COUNT_FILE, text);

    if (err != 0)
        violation(COUNT_FILE ": %s", strerror(err));
    verify_counter(&all, 0, strtoull(text, NULL, 10));
    verify_tokens();
    verify_free_flock(root, LOCK_FILE);
    free(all.at);
}

/* ---- fcntl ----------------------------------------------------------------------------------- */

static int set_range(int fd, int cmd, short type, off_t at, off_t len)
{
    struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = len};

    return fcntl(fd, cmd, &range) == 0 ? 0 : errno;
}

static void range_prepare(int root, const char *path)
{
    char text[SLOTS * SLOT + 1];

    for (int i = 0; i < SLOTS; i++)
        format_slot(text + i * SLOT, 0);
    make_file(root, path, "");
    if (put_text(root, path, 0, text) != 0)
        die("%s: %s", path, strerror(errno));
}

/* Under a shared lock, the value must not change. */
static void look_twice(struct worker *w, int fd, off_t at)
{
    uint64_t first, second;

    if (read_slot(fd, at, &first) != 0)
        return;
    usleep((useconds_t)chance(w, 3000));
    if (read_slot(fd, at, &second) == 0 && first != second && lock_held(fd))
        violation("a counter went from %" PRIu64 " to %" PRIu64 " under a shared lock", first,
                  second);
}

static void count_range(struct worker *w, int fd, struct note *n)
{
    off_t at = (off_t)n->what * SLOT;
    int err = read_slot(fd, at, &n->number);

    if (err != 0) {
        excused(w, err, "reading a counter");
        return;
    }
    usleep((useconds_t)chance(w, 3000));
    n->number++;
    err = write_slot(fd, at, n->number);
    n->return_ns = counted(w, err, "counting") ? now_ns() : UINT64_MAX;
    note_add(&w->notes, n);
}

static void range_step(struct worker *w, const char *path, int cmd)
{
    struct note n = {.worker = w->id, .what = (unsigned)chance(w, SLOTS)};
    bool shared = chance(w, 4) == 0;
    int fd = openat(w->root, path, O_RDWR | O_CLOEXEC);
    int err = fd < 0 ? errno : set_range(fd, cmd, shared ? F_RDLCK : F_WRLCK, n.what * SLOT, SLOT);

    if (err != 0) {
        excused(w, err, "fcntl");
    } else {
        n.call_ns = now_ns();
        if (shared)
            look_twice(w, fd, n.what * SLOT);
        else
            count_range(w, fd, &n);
        if (chance(w, 2) == 0) /* otherwise close releases it */
            set_range(fd, cmd, F_UNLCK, n.what * SLOT, SLOT);
    }
    if (fd >= 0)
        close(fd);
}

static bool take_range(int fd)
{
    return set_range(fd, F_OFD_SETLK, F_WRLCK, 0, 0) == 0;
}

static void range_verify(int root, const char *path)
{
    struct notes all = notes_all(false, by_number);
    int fd = openat(root, path, O_RDONLY | O_CLOEXEC);
    uint64_t value = 0;

    for (unsigned i = 0; i < SLOTS; i++) {
        int err = fd < 0 ? EBADF : read_slot(fd, i * SLOT, &value);

        if (err != 0)
            violation("%s: %s", path, strerror(err));
        verify_counter(&all, i, value);
    }
    if (fd >= 0)
        close(fd);
    verify_free(root, path, take_range);
    free(all.at);
}

static void fcntl_prepare(int root)
{
    range_prepare(root, "fcntl");
}

static void fcntl_step(struct worker *w)
{
    range_step(w, "fcntl", F_SETLKW);
}

static void fcntl_verify(int root)
{
    range_verify(root, "fcntl");
}

static void ofd_prepare(int root)
{
    range_prepare(root, "ofd");
}

static void ofd_step(struct worker *w)
{
    range_step(w, "ofd", F_OFD_SETLKW);
}

static void ofd_verify(int root)
{
    range_verify(root, "ofd");
}

/* A process has one set of fcntl locks on a file, so there is one thread for each mount. */
const struct workload lock_workloads[3] = {
    {"flock", 1, flock_prepare, flock_step, flock_verify},
    {"fcntl", 1, fcntl_prepare, fcntl_step, fcntl_verify},
    {"ofd", 2, ofd_prepare, ofd_step, ofd_verify},
};
