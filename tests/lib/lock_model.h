/* SPDX-License-Identifier: Apache-2.0 */
/* A model of locks, to compare store/lock.c with: bytes in arrays, owners in matrices. Written from
 * store/lock.h and proto/command.proto. It decides the answer of each request. It checks that each
 * grant that the store reports was due at its turn, and that none is missing. */
#ifndef TESTS_LIB_LOCK_MODEL_H
#define TESTS_LIB_LOCK_MODEL_H

#include "base/buf.h"
#include "store/store.h"

#define LOCK_MODEL_FILES  2
#define LOCK_MODEL_BYTES  12 /* of a file; the last one stands for all bytes behind it */
#define LOCK_MODEL_OWNERS 24 /* (session, kind, owner) at the same time */
#define LOCK_MODEL_QUEUE  64

struct lock_model_byte {
    int type; /* 0: free; 1: shared; 2: exclusive */
    uint64_t handle;
    uint64_t since; /* raft index */
};

struct lock_model_owner {
    bool used;
    uint64_t session;
    uint32_t kind;
    uint64_t owner;
    struct lock_model_byte bytes[LOCK_MODEL_FILES][LOCK_MODEL_BYTES];
};

struct lock_model_request {
    uint64_t id;
    int owner; /* in lock_model.owners */
    int file;
    int first;
    int last;
    int type;
    uint64_t handle;
};

struct lock_model {
    bool single; /* no owner has two waiting requests: then there must never be a deadlock */
    uint64_t inos[LOCK_MODEL_FILES];
    struct lock_model_owner owners[LOCK_MODEL_OWNERS];
    struct lock_model_request queue[LOCK_MODEL_QUEUE]; /* in order of ids */
    int n_queue;
};

/* Runs a command, without grants, and returns the status that the store must return. index: the
 * index of its entry. */
uint32_t lock_model_lock(struct lock_model *m, uint64_t index, uint64_t session,
                         const Cfs__Lock *c);
void lock_model_unlock(struct lock_model *m, uint64_t session, const Cfs__Unlock *c);
void lock_model_release(struct lock_model *m, uint64_t session, uint64_t handle);
uint32_t lock_model_cancel(struct lock_model *m, uint64_t session, uint64_t id);
void lock_model_end(struct lock_model *m, uint64_t session);

/* Checks the next grant of a command. False: it was not due; *why says so. */
bool lock_model_grant(struct lock_model *m, uint64_t index, const struct store_grant *grant,
                      struct buf *why);
/* Call after all grants of a command. False: a grant is missing, or the state is impossible. */
bool lock_model_settled(struct lock_model *m, struct buf *why);

/* Returns the number of the owner's waiting requests. */
int lock_model_waiting(const struct lock_model *m, uint64_t session, uint32_t kind, uint64_t owner);
bool lock_model_holds_any(const struct lock_model_owner *owner);

#endif
