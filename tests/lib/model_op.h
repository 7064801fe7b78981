/* SPDX-License-Identifier: Apache-2.0 */
/* The functions that the operations of the model share; for tests/lib/model_*.c only. */
#ifndef TESTS_LIB_MODEL_OP_H
#define TESTS_LIB_MODEL_OP_H

#include "tests/lib/model.h"

/* An operation returns its status. It checks everything before it changes anything. */
typedef int model_op_fn(struct model_step *s, const Cfs__Command *command,
                        struct model_reply *reply);

model_op_fn model_op_make, model_op_link, model_op_unlink, model_op_rename; /* model_name.c */
model_op_fn model_op_write, model_op_set_attr, model_op_set_xattr, model_op_remove_xattr,
    model_op_reap;                             /* model_data.c */
model_op_fn model_op_fallocate, model_op_copy; /* model_range.c */
model_op_fn model_op_stage, model_op_unstage;  /* model_stage.c */

/* A directory and a name in it, which a command refers to. */
struct model_place {
    struct model_inode *dir;
    const ProtobufCBinaryData *name;
    struct model_entry *entry; /* NULL: the name is free */
    struct model_inode *inode; /* of the entry */
};

/* Checks a name; dot and dotdot: the errors for "." and "..". */
int model_name_status(const ProtobufCBinaryData *name, int dot, int dotdot);
/* ENOENT: there is no such directory. ENOTDIR: it is not a directory. */
int model_find_place(const struct model *m, uint64_t parent, const ProtobufCBinaryData *name,
                     struct model_place *out);

bool model_is_empty(const struct model *m, const struct model_inode *dir);
bool model_is_within(const struct model *m, const struct model_inode *dir, uint64_t top);

/* Update the times and numbers of a changed inode. */
void model_mark_ctime(const struct model_step *s, struct model_inode *inode);
void model_mark_data(const struct model_step *s, struct model_inode *inode);
void model_mark_attributes(const struct model_step *s, struct model_inode *inode);
void model_mark_children(const struct model_step *s, struct model_inode *dir);

struct model_change *model_add_change(struct model_step *s, Cfs__Change__Kind kind, uint64_t ino);
void model_add_place_change(struct model_step *s, Cfs__Change__Kind kind, uint64_t ino,
                            const struct model_place *at);
void model_reply_attr(struct model_reply *reply, const struct model_inode *inode);

/* For content: check that the inode has content, check a new size, check a range; update times and
 * numbers after a change. */
int model_data_status(const struct model_inode *inode);
void model_set_size(struct model_inode *inode, uint64_t size);
void model_put_bytes(struct model_inode *inode, uint64_t offset, const ProtobufCBinaryData *data);
void model_note_content(struct model_step *s, struct model_inode *inode, Cfs__Kill kill);

void model_staged_drop(struct model_session *s, uint64_t stage);

/* ---- Quotas (model_quota.c): the one that counts (0: none), and its room --------------------- */
uint64_t model_quota_of_dir(const struct model *m, uint64_t dir);
uint64_t model_quota_of(const struct model *m, const struct model_inode *inode);
bool model_quota_fits(const struct model *m, uint64_t quota, uint64_t bytes, uint64_t entries);
/* The same for an inode whose content grows to this many bytes. */
bool model_quota_fits_growth(const struct model *m, const struct model_inode *inode,
                             uint64_t stored);
/* Returns a copy of the inode without content, to try a change on; and the number of bytes that it
 * would store. */
struct model_inode *model_shadow(const struct model_inode *inode);
uint64_t model_shadow_end(struct model_inode *shadow);
/* The inode has lost its last name, in dir. */
void model_quota_lost(struct model *m, uint64_t dir, struct model_inode *inode);
bool model_quota_is_name(const ProtobufCBinaryData *name);
bool model_quota_is_reserved(const ProtobufCBinaryData *name); /* another user.coordfs.* */
int model_quota_set(struct model *m, const struct model_inode *inode, const Cfs__SetXattr *set);
int model_quota_remove(struct model *m, const struct model_inode *inode,
                       const ProtobufCBinaryData *name);

/* ---- ACLs (model_acl.c) ---- */
bool model_acl_is_name(const ProtobufCBinaryData *name);
/* *changed: true if the ACL has changed. */
int model_acl_set(struct model_inode *inode, const Cfs__SetXattr *set, bool *changed);
void model_acl_chmod(struct model_inode *inode);
/* Sets the ACLs that a new inode inherits, and the permissions that they or the umask leave. */
void model_acl_inherit(const struct model_inode *dir, uint32_t umask, struct model_inode *inode);

/* ---- Xattrs: set without any check; remove returns false if there was none ------------------- */
void model_put_xattr(struct model_inode *inode, const void *name, size_t name_len,
                     const void *value, size_t len);
bool model_drop_xattr(struct model_inode *inode, const void *name, size_t len);

/* Adds or removes a name; the caller changes the inode's link count. order: the position in the
 * directory; 0: the next one. */
void model_insert(struct model_step *s, const struct model_place *at, struct model_inode *inode,
                  uint64_t order);
void model_take_out(struct model_step *s, struct model_place *at);
/* Handles an inode that has lost a name in dir; fills reply if not NULL. */
void model_lose_name(struct model_step *s, uint64_t dir, struct model_inode *inode,
                     struct model_reply *reply);

#endif
