/* SPDX-License-Identifier: Apache-2.0 */
/* The messages between drivers: converts proto/peer.proto to and from bytes and libraft's
 * structures. Decoding limits its allocations and checks every size and every enumeration. The
 * guards (raft/guard.h) check the numbers against the state of this member.
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
#define WIRE_APPEND_MAX  (1u << 20)   /* payload bytes of an AppendEntries (one entry may exceed) */
#define WIRE_CHUNK_MAX   (512u << 10) /* bytes of a snapshot chunk */
#define WIRE_CONFIG_MAX  (32u << 10)  /* bytes of an encoded configuration */
#define WIRE_APP_MAX     (64u << 10)  /* bytes of a message between daemons */
#define WIRE_SIZE_MAX    (1ull << 46) /* bytes of a snapshot */
#define WIRE_INDEX_MAX   (1ull << 62) /* indexes and terms: sums must not overflow */

_Static_assert(WIRE_APPEND_MAX + LIMIT_COMMAND_MAX + WIRE_ENTRIES_MAX * 64 < LIMIT_FRAME_MAX,
               "an AppendEntries fits into a frame");

/* Returns the frame, or NULL if the bytes are not a valid message. Gives: wire_free. */
Cfs__Peer__Frame *wire_decode(const uint8_t *data, size_t len);
void wire_free(Cfs__Peer__Frame *frame);

/* Gives the bytes. */
struct buf wire_encode(const Cfs__Peer__Frame *frame);

/* Encodes any message of libraft's except InstallSnapshot (raft/snapshot.h has streams instead).
 * The entries of an AppendEntries come from the array; message->append_entries.entries is not read.
 * Gives the bytes. */
struct buf wire_encode_raft(const struct raft_message *message,
                            const struct machine_entry *entries);

/* Converts a frame to a libraft message; false if the frame is of another kind. An AppendEntries
 * gets the number of its entries, but no array (see wire_entries). */
bool wire_to_raft(const Cfs__Peer__Frame *frame, uint64_t from, struct raft_message *out);

/* The entries of an AppendEntries for libraft: an array from malloc(), or NULL if there are none.
 * The payloads are borrowed from the frame; batch is NULL. */
struct raft_entry *wire_entries(const Cfs__Peer__AppendEntries *append);

/* True if the bytes are a configuration that libraft can decode: distinct ids and addresses, known
 * roles, 1 … LIMIT_MEMBERS_MAX members. (libraft's decoder only asserts, with assertions off.) */
bool wire_config_valid(const uint8_t *data, size_t len);

#endif
