/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/inode/handle.h"

#include <stdlib.h>

#include "base/clock.h"
#include "fs/hash.h"
#include "fs/reading/pass.h"

void handles_init(struct handles *hs, struct opens *opens)
{
    hs->table = NULL;
    hs->opens = opens;
    hs->exchanged = 0;
    /* The base differs for each run of the daemon: microseconds since boot grow faster than handles
     * are opened. */
    hs->next = clock_boot_us() << 8 | 1;
}

struct handle *handle_find(const struct handles *hs, uint64_t fh)
{
    struct handle *handle;

    HASH_FIND_U64(hs->table, fh, handle);
    return handle;
}

static void handle_free(struct handles *hs, struct handle *handle)
{
    opens_drop(hs->opens, handle->ino);
    HASH_DEL(hs->table, handle);
    ioctl_buffer_free(handle->ioctl_buffer);
    if (handle->pass != NULL)
        buf_fini(&handle->pass->rest);
    free(handle->pass);
    free(handle);
}

void handles_fini(struct handles *hs)
{
    struct handle *handle, *next;

    HASH_ITER (hh, hs->table, handle, next)
        handle_free(hs, handle);
}

struct handle *handle_open(struct handles *hs, uint64_t ino, int flags, int tid)
{
    struct handle *handle = xcalloc(1, sizeof(*handle));

    handle->fh = hs->next++;
    handle->ino = ino;
    handle->flags = flags;
    handle->tid = tid;
    HASH_ADD_U64(hs->table, fh, handle);
    opens_add(hs->opens, ino);
    return handle;
}

void handle_close(struct handles *hs, uint64_t fh)
{
    struct handle *handle = handle_find(hs, fh);

    if (handle != NULL)
        handle_free(hs, handle);
}
