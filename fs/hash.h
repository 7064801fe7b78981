/* SPDX-License-Identifier: Apache-2.0 */
/* uthash configured for coordfs: it dies when memory runs out, and keys are 64-bit numbers. */
#ifndef FS_HASH_H
#define FS_HASH_H

#include "base/base.h"

#define uthash_fatal(msg) die("out of memory")
#include <uthash.h>

#define HASH_FIND_U64(head, key, out)    HASH_FIND(hh, head, &(key), sizeof(uint64_t), out)
#define HASH_ADD_U64(head, field, added) HASH_ADD(hh, head, field, sizeof(uint64_t), added)

#endif
