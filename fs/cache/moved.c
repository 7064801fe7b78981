/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cache/moved.h"

#include <string.h>
#include <sys/syscall.h>

#include <xxhash.h>

#include "base/clock.h"
#include "fs/cache/invalidate.h"
#include "fs/kernel/procfd.h"
#include "fs/state.h"

/* The store shows a change before it is delivered here, but not before it is announced. */
bool moved_is_early(struct fs *fs, uint64_t ino)
{
    return node_lookups(&fs->nodes, ino) > 0 && invalidate_missing(fs);
}

static bool is_rename(int call)
{
    static const int calls[] = {
#ifdef SYS_rename
        SYS_rename,
#endif
#ifdef SYS_renameat
        SYS_renameat,
#endif
        SYS_renameat2,
#ifdef __x86_64__
        38,
        302,
        353, /* i386 system calls: none of these numbers looks up names there */
#endif
    };

    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        if (calls[i] == call)
            return true;
    return false;
}

/* The thread's record. Makes one if there is none and `add` is set. MOVED_MAX: none. */
static unsigned place(struct moved *m, int tid, bool add)
{
    uint64_t now = clock_boot_ms();
    unsigned i = 0;

    while (i < MOVED_MAX && (m->threads[i].tid != tid || m->threads[i].end_ms <= now))
        i++;
    if (i < MOVED_MAX || !add)
        return i;
    i = m->next++ % MOVED_MAX;
    memset(&m->threads[i], 0, sizeof(m->threads[i]));
    m->threads[i].tid = tid;
    m->threads[i].end_ms = now + MOVED_MS;
    return i;
}

/* The first answer about a name for which the kernel seems to have an entry of another inode. */
static bool is_expected_again(struct fs *fs, unsigned i, uint64_t parent, const char *name,
                              uint64_t ino)
{
    uint64_t hash = XXH3_64bits_withSeed(name, strlen(name), parent) | 1;

    if (fs->moved.threads[i].name == hash || !lane_forgets_other(fs, parent, name, ino))
        return false;
    fs->moved.threads[i].name = hash;
    return true;
}

bool moved_misleads(struct fs *fs, int tid, uint64_t parent, const char *name, uint64_t ino)
{
    const struct node *node = node_find(&fs->nodes, ino);
    unsigned i;
    int call;

    if (node == NULL || node->moving == 0 || tid == 0)
        return false;
    call = procfd_syscall(tid);
    if (call >= 0 && !is_rename(call))
        return false;
    i = place(&fs->moved, tid, true);
    if (fs->moved.threads[i].told || is_expected_again(fs, i, parent, name, ino))
        return false;
    fs->moved.threads[i].told = true;
    return true;
}

void moved_ends(struct fs *fs, int tid)
{
    unsigned i = place(&fs->moved, tid, false);

    if (tid != 0 && i < MOVED_MAX)
        fs->moved.threads[i].tid = 0;
}
