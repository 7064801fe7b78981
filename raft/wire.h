/* SPDX-License-Identifier: Apache-2.0 */
/* The messages between drivers: proto/peer.proto to and from bytes, and to and from libraft's
 * structures. Decoding bounds what it allocates and checks every size and every enumeration; what
 * the numbers mean for the state of this member is checked by raft/guard.h.
 * Pure functions, any thread. */
#ifndef RAFT_WIRE_H
#define RAFT_WIRE_H

#include <raft.h>

#include "base/base.h"
#include "base/buf.h"
#include "proto/limits.h"
#include "proto/peer.pb-c.h"
#include "raft/machine.h"

#define WIRE_ENTRIES_MAX 4096u        /* entries in one AppendEntries or Propose */
#define WIRE_APPEND_MAX  (1u << 20)   /* payload bytes of an AppendEntries, but one at least */
#define WIRE_CHUNK_MAX   (512u << 10) /* bytes of a snapshot chunk */
#define WIRE_CONFIG_MAX  (32u << 10)  /* bytes of an encoded configuration */
#define WIRE_APP_MAX     (64u << 10)  /* bytes of a message of the daemon's own */
#define WIRE_SIZE_MAX    (1ull << 46) /* bytes of a snapshot */
#define WIRE_INDEX_MAX   (1ull << 62) /* indexes and terms: sums must not overflow */

_Static_assert(WIRE_APPEND_MAX + LIMIT_COMMAND_MAX + WIRE_ENTRIES_MAX * 64 < LIMIT_FRAME_MAX,
               "an AppendEntries fits into a frame");

/* The frame, or NULL when the bytes are no acceptable message. Gives: wire_free. */
Cfs__Peer__Frame *wire_decode(const uint8_t *data, size_t len);
void wire_free(Cfs__Peer__Frame *frame);

/* Gives the bytes. */
struct buf wire_encode(const Cfs__Peer__Frame *frame);

/* Every message of libraft's but InstallSnapshot (snapshots have streams of their own). An
 * AppendEntries takes its entries from the array (message->append_entries.entries is not read).
 * Gives the bytes. */
struct buf wire_encode_raft(const struct raft_message *message,
                            const struct machine_entry *entries);

/* The libraft message in a frame; false when the frame holds another kind. An AppendEntries gets
 * no array of entries here (wire_entries makes it), only their number. */
bool wire_to_raft(const Cfs__Peer__Frame *frame, uint64_t from, struct raft_message *out);

/* The entries of an AppendEntries as libraft takes them: an array of malloc(), NULL when there are
 * none; the payloads are borrowed from the frame, batch is NULL. */
struct raft_entry *wire_entries(const Cfs__Peer__AppendEntries *append);

/* Are these bytes a configuration that libraft's decoder can take? (Its own only asserts that, and
 * assertions are compiled out.) Ids and addresses distinct, roles known, 1..LIMIT_MEMBERS_MAX. */
bool wire_config_valid(const uint8_t *data, size_t len);

#endif
