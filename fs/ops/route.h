/* SPDX-License-Identifier: Apache-2.0 */
/* Routes requests about the control directory (fs/control/vdir.h); all others go to the table of
 * fs/ops/ops.h. */
#ifndef FS_OPS_ROUTE_H
#define FS_OPS_ROUTE_H

#include "fs/ops/ops.h"

/* The table for libfuse. */
void route_make(struct fs *fs, struct fuse_lowlevel_ops *out);

#endif
