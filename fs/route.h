/* Which requests are about the control directory (fs/vdir.h): all others go to fs/ops.h's table. */
#ifndef FS_ROUTE_H
#define FS_ROUTE_H

#include "fs/ops.h"

/* The table for libfuse. */
void route_make(struct fs *fs, struct fuse_lowlevel_ops *out);

#endif
