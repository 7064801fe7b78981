/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/inode/attr.h"

#include <errno.h>
#include <string.h>

#include "fs/kernel/convert.h"
#include "fs/kernel/notify.h"
#include "fs/state.h"

int attr_get(struct fs *fs, uint64_t ino, Cfs__Attr *out)
{
    int err = fs->backend.ops->attr(fs->backend.ctx, ino, out);

    if (err == 0) {
        node_note(&fs->nodes, out);
        fs->attr_overlay->show(fs, out);
        return 0;
    }
    if (err != -ESTALE)
        return -err;
    return node_dead(&fs->nodes, ino, out) ? 0 : ESTALE;
}

double attr_name_valid_s(const struct fs *fs)
{
    if (fs->options.uncached || fs->options.strong)
        return 0;
    return notify_has_epoch(&fs->io) ? ATTR_VALID_S : ATTR_VALID_SHORT_S;
}

double attr_entry_valid_s(struct fs *fs, uint64_t parent, const char *name)
{
    return rewalk_doubts(&fs->rewalks, rewalk_hash(parent, name)) ? 0 : attr_name_valid_s(fs);
}

double attr_valid_s(struct fs *fs, uint64_t ino)
{
    return fs->attr_overlay->exists(fs, ino) ? 0 : attr_name_valid_s(fs);
}

void attr_entry(struct fs *fs, const Cfs__Attr *attr, struct fuse_entry_param *out)
{
    memset(out, 0, sizeof(*out));
    out->ino = attr->ino;
    out->attr_timeout = attr_valid_s(fs, attr->ino);
    out->entry_timeout = attr_name_valid_s(fs);
    convert_stat(attr, &out->attr);
}
