/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the tests of store/: a store in a temporary directory, commands of one line each, and a
 * record of all entries, so that another store can apply them. */
#ifndef TESTS_LIB_STORE_KIT_H
#define TESTS_LIB_STORE_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>

#include "proto/stamp.h"
#include "store/history_reader.h"
#include "store/reader.h"
#include "store/store.h"

struct kit_entry {
    uint64_t term;
    enum store_entry_type type;
    struct buf data;
};

/* The kit keeps this much of a command; no test may need more. */
#define KIT_CHANGES 64
#define KIT_GRANTS  64
#define KIT_STEPS   128

struct kit {
    char dir[200];
    struct store *store;
    struct store_reader *reader;

    uint64_t term;
    uint64_t session; /* 0 until kit_session */
    uint64_t seq;
    uint64_t acked; /* kit_run acknowledges all earlier replies, unless `keep` */
    bool keep;
    int64_t now;
    bool sync;

    struct kit_entry *log; /* every applied entry; log[i] has index i + 1 */
    size_t n_log;

    /* Of the last command: */
    enum store_outcome outcome;
    uint64_t opened; /* result.session */
    bool has_reply;
    uint32_t status;
    Cfs__Attr attr; /* all zero if the reply had none */
    uint64_t value;
    size_t n_changes;
    Cfs__Change changes[KIT_CHANGES];
    char names[KIT_CHANGES][2][256]; /* name and new_name of each */
    char name[300];                  /* reply.name */
    size_t n_steps;                  /* reply.steps */
    struct kit_step {
        uint32_t status;
        Cfs__Attr attr; /* all zero if there was none */
        char name[300];
    } steps[KIT_STEPS];
    size_t n_grants;
    struct store_grant grants[KIT_GRANTS];
    size_t n_ended;
    struct store_ended ended[4];
};

void kit_init(struct kit *k);  /* a temporary directory and an open store with a session */
void kit_empty(struct kit *k); /* the same, without a session */
void kit_fini(struct kit *k);  /* checks all invariants and removes everything */
void kit_open(struct kit *k);  /* opens the store and a reader */
void kit_close(struct kit *k);
void kit_check(struct kit *k); /* store_check */
void kit_make_dir(char *dir);  /* a new temporary directory: its path, at most 200 bytes */
void kit_remove_dir(const char *dir);
void kit_copy_file(const char *from_dir, const char *to_dir, const char *name); /* if it exists */

/* Applies one entry in its own transaction. */
void kit_entry(struct kit *k, enum store_entry_type type, const void *data, size_t len);
/* Applies the log entries of `from` that k does not have yet. */
void kit_follow(struct kit *k, const struct kit *from);
/* Applies a command with the given stamp. */
void kit_stamped(struct kit *k, const struct stamp *stamp, Cfs__Command *c);
/* Applies the session's next command and returns its status. */
uint32_t kit_run(struct kit *k, Cfs__Command *c);
void kit_session(struct kit *k, uint64_t member, uint64_t nonce);
/* A session beside the kit's own, and its next command number. */
struct kit_host {
    uint64_t session;
    uint64_t seq;
};
struct kit_host kit_host(struct kit *k, uint64_t member, uint64_t nonce, uint32_t ttl_ms);
uint32_t kit_run_as(struct kit *k, struct kit_host *host, Cfs__Command *c);

ProtobufCBinaryData kit_bytes(const void *data, size_t len); /* borrows */

/* These return the status of the command. */
uint32_t kit_noop(struct kit *k);
uint32_t kit_make(struct kit *k, uint64_t parent, const char *name, uint32_t mode);
uint32_t kit_make_as(struct kit *k, uint64_t parent, const char *name, uint32_t mode, uint32_t uid,
                     uint32_t gid);
uint32_t kit_symlink(struct kit *k, uint64_t parent, const char *name, const char *target);
uint32_t kit_link(struct kit *k, uint64_t ino, uint64_t parent, const char *name);
uint32_t kit_unlink(struct kit *k, uint64_t parent, const char *name);
uint32_t kit_rmdir(struct kit *k, uint64_t parent, const char *name);
uint32_t kit_rename(struct kit *k, uint64_t parent, const char *name, uint64_t new_parent,
                    const char *new_name, Cfs__Rename__Mode mode);
uint32_t kit_write(struct kit *k, uint64_t ino, uint64_t offset, const void *data, size_t len);
uint32_t kit_append(struct kit *k, uint64_t ino, const void *data, size_t len);
uint32_t kit_truncate(struct kit *k, uint64_t ino, uint64_t size);
uint32_t kit_chmod(struct kit *k, uint64_t ino, uint32_t mode);
uint32_t kit_setxattr(struct kit *k, uint64_t ino, const char *name, const void *value, size_t len,
                      Cfs__SetXattr__Mode mode);
uint32_t kit_removexattr(struct kit *k, uint64_t ino, const char *name);
uint32_t kit_reap(struct kit *k, uint64_t ino);

/* These must succeed; they return the new inode. */
uint64_t kit_file(struct kit *k, uint64_t parent, const char *name);
uint64_t kit_dir(struct kit *k, uint64_t parent, const char *name);

Cfs__Attr kit_stat(struct kit *k, uint64_t ino); /* through the reader; it must exist */
uint64_t kit_find(struct kit *k, uint64_t parent, const char *name); /* 0: none */

void kit_assert_hash(const struct kit *a, const struct kit *b);
void kit_sql(const char *dir, const char *sql); /* on the database of a closed store */
/* Appends all rows of a table, or of "(SELECT …)", as text. The store must be closed. */
void kit_dump_table(const char *dir, const char *table, struct buf *out);

#endif
