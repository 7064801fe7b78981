/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/reading/stale.h"

#include <linux/fuse.h>

#include "base/clock.h"
#include "base/log.h"
#include "fs/cache/invalidate.h"
#include "fs/state.h"

#define LOOKS 4 /* looks at the quorum during the time after which its loss counts */

/* Requests that are answered from the local state. */
static bool is_read(uint32_t opcode)
{
    static const bool reads[] = {
        [FUSE_LOOKUP] = true,      [FUSE_GETATTR] = true,   [FUSE_READLINK] = true,
        [FUSE_OPEN] = true,        [FUSE_READ] = true,      [FUSE_STATFS] = true,
        [FUSE_GETXATTR] = true,    [FUSE_LISTXATTR] = true, [FUSE_OPENDIR] = true,
        [FUSE_READDIR] = true,     [FUSE_ACCESS] = true,    [FUSE_LSEEK] = true,
        [FUSE_READDIRPLUS] = true, [FUSE_GETLK] = true,
    };

    return opcode < ARRAY_LEN(reads) && reads[opcode];
}

/* The control directory and the way to it. */
static bool is_exempt(struct fs *fs, uint64_t node, uint32_t opcode)
{
    if (opcode == FUSE_LOOKUP)
        return vdir_owns(node) || vdir_is_name(fs, node, io_lookup_name(&fs->io));
    return vdir_owns(node) || (opcode == FUSE_GETATTR && node == FUSE_ROOT_ID);
}

/* Changes that are applied while a barrier is on its way have their events, too: the mirror looks
 * up their names. */
static bool is_mirror(struct fs *fs)
{
    return mirror_sends(&fs->mirror, io_pid(&fs->io));
}

bool stale_denies(struct fs *fs)
{
    uint32_t opcode;

    if (fs->stale.state == STALE_SERVING || is_mirror(fs))
        return false;
    opcode = io_opcode(&fs->io);
    return is_read(opcode) && !is_exempt(fs, io_node(&fs->io), opcode);
}

static void on_proved(struct call *c)
{
    struct fs *fs = c->fs;

    fs->stale.state = c->err == 0 ? STALE_SERVING : STALE_DENYING;
    if (c->err == 0)
        log_info("the quorum is back: reads are answered again");
}

static void deny(struct fs *fs)
{
    log_warn("no quorum: reads are answered EIO (stale=deny)");
    fs->stale.state = STALE_DENYING;
    invalidate_forget_all(fs);
}

static void prove(struct fs *fs)
{
    fs->stale.state = STALE_PROVING;
    call_barrier(fs, &fs->stale.barrier, fs->options.timeout_ms, on_proved);
}

static void look(struct fs *fs, uint64_t now)
{
    const struct backend *be = &fs->backend;
    struct stale *s = &fs->stale;

    if (backend_has_quorum(be)) {
        s->lost_ms = 0;
        if (s->state == STALE_DENYING)
            prove(fs);
        return;
    }
    if (s->lost_ms == 0)
        s->lost_ms = now;
    if (s->state == STALE_SERVING && now - s->lost_ms >= fs->options.deny_ms)
        deny(fs);
}

int stale_turn(struct fs *fs)
{
    struct stale *s = &fs->stale;
    uint64_t now;

    if (fs->options.deny_ms == 0)
        return -1;
    now = clock_boot_ms();
    if (now >= s->next_ms) {
        look(fs, now);
        s->next_ms = now + max_u64(fs->options.deny_ms / LOOKS, 1);
    }
    return (int)(s->next_ms - now);
}
