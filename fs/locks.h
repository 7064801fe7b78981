/* What this host holds: see fs/fs.h, fs_granted and fs_session. Reader thread only, but for the
 * two that post. */
#ifndef FS_LOCKS_H
#define FS_LOCKS_H

#include "base/base.h"

struct fs;

struct locks {
    uint64_t session; /* as last told */
};

/* Loop thread: fs_granted and fs_session. */
void locks_post_grant(struct fs *fs, uint64_t id, uint64_t fence);
void locks_post_session(struct fs *fs, uint64_t session);

#endif
