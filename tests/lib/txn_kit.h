/* SPDX-License-Identifier: Apache-2.0 */
/* Builds transactions step by step:
 *
 *     txn_begin(&t, dir);
 *     txn_check(&t, "a", CFS__TXN_CHECK__KIND__VERSION, 3);
 *     txn_put(&t, "a", "text");
 *     status = txn_commit(&t, k, &host);
 *
 * Also has the other commands about entries with a limited life. */
#ifndef TESTS_LIB_TXN_KIT_H
#define TESTS_LIB_TXN_KIT_H

#include "tests/lib/store_kit.h"

#define TXN_KIT_STEPS 300

struct txn_kit_step { /* the memory that a step points to */
    Cfs__TxnStep step;
    Cfs__TxnCheck check;
    Cfs__Make make;
    Cfs__TxnPut put;
    Cfs__Unlink remove;
    Cfs__TxnMove move;
    Cfs__TxnLink link;
    Cfs__SetAttr set_attr;
    Cfs__SetXattr set_xattr;
    Cfs__RemoveXattr remove_xattr;
    char text[4][300]; /* path and others */
};

struct txn_kit {
    Cfs__Txn txn;
    Cfs__Cred cred;
    uint32_t groups[4];
    Cfs__TxnStep *pointers[TXN_KIT_STEPS];
    struct txn_kit_step steps[TXN_KIT_STEPS];
};

void txn_begin(struct txn_kit *t, uint64_t dir);
void txn_as(struct txn_kit *t, uint32_t uid, uint32_t gid, uint32_t group); /* default: trusted */

/* Adds a step and returns it for further changes. Texts are copied. */
Cfs__TxnStep *txn_check(struct txn_kit *t, const char *path, Cfs__TxnCheck__Kind kind,
                        uint64_t number); /* version or hash */
Cfs__TxnStep *txn_make(struct txn_kit *t, const char *path, uint32_t mode);
Cfs__TxnStep *txn_put(struct txn_kit *t, const char *path, const char *text);
Cfs__TxnStep *txn_remove(struct txn_kit *t, const char *path, bool directory);
Cfs__TxnStep *txn_move(struct txn_kit *t, const char *from, const char *to, Cfs__Rename__Mode mode);
Cfs__TxnStep *txn_link(struct txn_kit *t, const char *from, const char *to);
Cfs__TxnStep *txn_chmod(struct txn_kit *t, const char *path, uint32_t mode);
Cfs__TxnStep *txn_set_xattr(struct txn_kit *t, const char *path, const char *name,
                            const char *value);
Cfs__TxnStep *txn_remove_xattr(struct txn_kit *t, const char *path, const char *name);

/* Commits it as a command of the session and returns the status. */
uint32_t txn_commit(struct txn_kit *t, struct kit *k, struct kit_host *host);

/* ---- Others ---- */

uint32_t txn_setxattr_as(struct kit *k, struct kit_host *host, uint64_t ino, const char *name,
                         const char *value);
/* The xattr as text; NULL: ENODATA. Valid until the next call. */
const char *txn_getxattr(struct kit *k, uint64_t ino, const char *name);
uint32_t txn_make_as(struct kit *k, struct kit_host *host, uint64_t parent, const char *name,
                     uint32_t mode, Cfs__Ephemeral ephemeral, bool sequential);
uint32_t txn_unlink_as(struct kit *k, struct kit_host *host, uint64_t parent, const char *name,
                       bool directory);
uint32_t txn_write_as(struct kit *k, struct kit_host *host, uint64_t ino, const char *text);
uint32_t txn_release_ephemeral(struct kit *k, struct kit_host *host, uint64_t ino);
/* The leader has measured elapsed_ms since the last call, and finds the inode due. */
uint32_t txn_expire(struct kit *k, struct kit_host *host, uint64_t ino, uint64_t version,
                    uint64_t elapsed_ms);

#endif
