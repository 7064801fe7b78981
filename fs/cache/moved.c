/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cache/moved.h"

#include <sys/syscall.h>

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

/* The first answer about a name for which the kernel seems to have an entry of another inode. */
static bool is_expected_again(struct fs *fs, int tid, uint64_t parent, const char *name,
                              uint64_t ino)
{
    return lane_forgets_other(fs, parent, name, ino) &&
           rewalk_expect(&fs->rewalks, tid, rewalk_hash(parent, name));
}

bool moved_misleads(struct fs *fs, int tid, uint64_t parent, const char *name, uint64_t ino)
{
    const struct node *node = node_find(&fs->nodes, ino);
    int call;

    if (node == NULL || node->moving == 0 || tid == 0)
        return false;
    call = procfd_syscall(tid);
    if (call >= 0 && !is_rename(call))
        return false;
    if (rewalk_misled(&fs->rewalks, tid) || is_expected_again(fs, tid, parent, name, ino))
        return false;
    rewalk_mislead(&fs->rewalks, tid);
    return true;
}
