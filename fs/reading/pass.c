/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/reading/pass.h"

#include <linux/fuse.h>
#include <string.h>

#include "base/clock.h"
#include "fs/kernel/procfd.h"
#include "fs/state.h"
#include "proto/limits.h"

static bool only_looks(uint32_t opcode)
{
    static const bool looks[] = {
        [FUSE_LOOKUP] = true,       [FUSE_FORGET] = true,      [FUSE_GETATTR] = true,
        [FUSE_READLINK] = true,     [FUSE_OPEN] = true,        [FUSE_READ] = true,
        [FUSE_STATFS] = true,       [FUSE_RELEASE] = true,     [FUSE_OPENDIR] = true,
        [FUSE_READDIR] = true,      [FUSE_ACCESS] = true,      [FUSE_RELEASEDIR] = true,
        [FUSE_BATCH_FORGET] = true, [FUSE_READDIRPLUS] = true,
    };

    return opcode < ARRAY_LEN(looks) && looks[opcode];
}

void pass_note(struct fs *fs)
{
    if (only_looks(io_opcode(&fs->io)) && !vdir_owns(io_node(&fs->io)))
        return;
    if (mirror_sends(&fs->mirror, io_pid(&fs->io)))
        fs->passes.events++;
    else
        fs->passes.acts++;
}

void pass_end(struct fs *fs, struct pass *p)
{
    fs->passes.kept -= p->rest.len;
    buf_fini(&p->rest);
    p->goes_on = false;
}

static bool goes_on(const struct fs *fs, const struct pass *p, int tid, uint64_t off)
{
    if (!p->goes_on || off != p->next || p->acts != fs->passes.acts ||
        clock_boot_ms() >= p->until_ms)
        return false;
    return p->events == fs->passes.events || !procfd_listens(tid);
}

static int64_t go_on(struct fs *fs, struct pass *p, size_t size)
{
    size_t n = min_u64(size, p->rest.len - p->given);

    if (n == 0) {
        pass_end(fs, p);
        return 0;
    }
    memcpy(fs->scratch, p->rest.data + p->given, n);
    p->given += n;
    p->next += n;
    return (int64_t)n;
}

/* scratch has the whole content, len bytes. */
static int64_t begin(struct fs *fs, struct pass *p, size_t len, size_t size)
{
    size_t n = min_u64(size, len);

    if (len - n > PASSES_MAX - fs->passes.kept)
        return (int64_t)n;
    if (len > n)
        p->rest = buf_copy(fs->scratch + n, len - n);
    fs->passes.kept += p->rest.len;
    p->given = 0;
    p->next = n;
    p->acts = fs->passes.acts;
    p->events = fs->passes.events;
    p->until_ms = clock_boot_ms() + PASS_LASTS_MS;
    p->goes_on = n > 0;
    return (int64_t)n;
}

int64_t pass_read(struct fs *fs, struct pass *p, int tid, uint64_t ino, uint64_t off, size_t size)
{
    int64_t n;

    if (goes_on(fs, p, tid, off))
        return go_on(fs, p, size);
    pass_end(fs, p);
    if (off > 0)
        return writeback_read(fs, ino, off, fs->scratch, size);
    n = writeback_read(fs, ino, 0, fs->scratch, LIMIT_WRITE_MAX);
    if (n < 0 || n == LIMIT_WRITE_MAX) /* there may be more */
        return n < (int64_t)size ? n : (int64_t)size;
    return begin(fs, p, (size_t)n, size);
}
