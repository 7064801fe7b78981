/* SPDX-License-Identifier: Apache-2.0 */
/* The meaning of the committed log: a store that never crashes applies it, and the answer to each
 * command of each session is kept. The model of the tree (tests/lib/model.h) or of the locks
 * (tests/lib/lock_model.h) applies it as well. */
#ifndef TESTS_SIM_REFERENCE_H
#define TESTS_SIM_REFERENCE_H

#include <uthash.h>

#include "store/reader.h"
#include "store/store.h"
#include "tests/lib/lock_model.h"
#include "tests/lib/model.h"

struct reference_row { /* an applied command */
    struct {
        uint64_t session, seq;
    } key;
    uint64_t index;
    uint64_t command; /* hash of its bytes */
    uint64_t reply;   /* hash of the answer's bytes */
    uint64_t value;
    uint32_t status;
    UT_hash_handle hh;
};

struct reference_session {
    uint64_t id;
    uint64_t last; /* the latest number */
    bool ended;
    UT_hash_handle hh;
};

struct reference_ttl { /* of an inode that has one */
    uint64_t ino;
    uint64_t
        begun_us; /* in the simulation's time: when the last command that began it was committed */
    uint64_t seconds;
    UT_hash_handle hh;
};

#define REFERENCE_INOS 64

struct reference {
    char dir[160];
    struct store *store;
    struct store_reader *reader;
    struct model *model;           /* NULL: not in this world */
    struct lock_model *lock_model; /* NULL: its files do not exist yet */
    uint64_t lock_inos[LOCK_MODEL_FILES];
    uint64_t journal; /* its inode; 0: it does not exist yet */
    uint64_t applied;
    uint64_t store_term;
    uint64_t last_session;
    struct store_hash *hashes; /* [index] */
    uint64_t cap;
    struct reference_row *rows;
    struct reference_session *sessions;
    struct reference_ttl *ttls;
    uint64_t expired; /* entries whose ttl was over */
    struct {          /* some inodes that exist or existed */
        uint64_t ino;
        uint32_t mode;
    } inos[REFERENCE_INOS];
    unsigned n_inos;
    uint64_t grants, ended, opened;
    struct buf error; /* empty: none */
};

struct reference *reference_new(const char *dir, bool model);
void reference_free(struct reference *r);
/* Applies the entry applied + 1, which is committed at now_us. False: a violation, described in
 * r->error. */
bool reference_apply(struct reference *r, uint64_t index, const struct store_entry *entry,
                     uint64_t now_us);
const struct reference_row *reference_find(struct reference *r, uint64_t session, uint64_t seq);
/* At the end: compares the whole tree with the model, and calls store_check(). */
bool reference_check(struct reference *r);

#endif
