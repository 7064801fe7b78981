/* SPDX-License-Identifier: Apache-2.0 */
/* Carries out committed log entries: stamp, duplicate check, decoding, dispatch, reply. */
#ifndef STORE_APPLY_H
#define STORE_APPLY_H

#include "store/history.h"
#include "store/op.h"
#include "store/session.h"

struct apply {
    struct rows *rows;
    struct sessions *sessions;
    struct locktab *locks;
    uint64_t max_bytes;
    uint64_t max_inodes;

    /* The last result points into these. */
    Cfs__Command *command;
    struct op op;
    struct history history;
    const Cfs__Change **changes;
    struct buf reply;
};

void apply_init(struct apply *a, struct rows *rows, struct sessions *sessions,
                struct locktab *locks);
void apply_fini(struct apply *a);

/* Implements store_apply. Sets the applied index. */
void apply_entry(struct apply *a, uint64_t index, const struct store_entry *entry,
                 struct store_result *out);

/* Implements store_acceptable. If the command is an OpenSession, *opens is its member; opens may be
 * NULL. */
bool apply_acceptable(const uint8_t *data, size_t len, uint64_t *opens);

#endif
