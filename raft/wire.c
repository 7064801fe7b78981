/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/wire.h"

#include <stdlib.h>
#include <string.h>

#include "proto/decode.h"

/* ---- Validation ------------------------------------------------------------------------------ */

static bool sane(uint64_t number)
{
    return number < WIRE_INDEX_MAX;
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t value = 0;
    int i;

    for (i = 7; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

/* libraft's format: version 1 (1 byte), number of servers (8 bytes); then for each server its id
 * (8), its address (NUL-terminated) and its role (1); padding. All pairs are compared for
 * duplicates. */
bool wire_config_valid(const uint8_t *data, size_t len)
{
    struct {
        uint64_t id;
        const char *address;
    } seen[LIMIT_MEMBERS_MAX];
    const uint8_t *end = data + len, *at = data + 9;
    uint64_t n, i, j;

    if (len < 9 || len > WIRE_CONFIG_MAX || data[0] != 1)
        return false;
    n = get_u64(data + 1);
    if (n == 0 || n > LIMIT_MEMBERS_MAX)
        return false;
    for (i = 0; i < n; i++) {
        const uint8_t *nul;

        if (end - at < 8)
            return false;
        seen[i].id = get_u64(at);
        seen[i].address = (const char *)at + 8;
        nul = memchr(at + 8, 0, (size_t)(end - at) - 8);
        if (nul == NULL || end - nul < 2 || nul[1] > RAFT_SPARE || seen[i].id == 0)
            return false;
        if (nul == at + 8 || nul - (at + 8) > LIMIT_ADDRESS)
            return false;
        for (j = 0; j < i; j++)
            if (seen[j].id == seen[i].id || strcmp(seen[j].address, seen[i].address) == 0)
                return false;
        at = nul + 2;
    }
    return true;
}

static bool valid_entry(const Cfs__Peer__Entry *entry)
{
    if (entry->term == 0 || !sane(entry->term) || entry->data.len > LIMIT_COMMAND_MAX)
        return false;
    if (entry->type == MACHINE_CHANGE)
        return wire_config_valid(entry->data.data, entry->data.len);
    return entry->type == MACHINE_COMMAND || entry->type == MACHINE_BARRIER;
}

static bool valid_append(const Cfs__Peer__AppendEntries *append)
{
    uint64_t term = append->prev_term;
    size_t i;

    if (append->n_entries > WIRE_ENTRIES_MAX || !sane(append->term) || !sane(append->prev_index) ||
        !sane(append->prev_term) || !sane(append->commit))
        return false;
    if ((append->prev_index == 0) != (append->prev_term == 0) || append->prev_term > append->term)
        return false;
    for (i = 0; i < append->n_entries; i++) {
        const Cfs__Peer__Entry *entry = append->entries[i];

        if (!valid_entry(entry) || entry->term < term || entry->term > append->term)
            return false;
        term = entry->term;
    }
    return true;
}

static bool valid_propose(const Cfs__Peer__Propose *propose)
{
    size_t i;

    if (propose->n_entries > WIRE_ENTRIES_MAX)
        return false;
    for (i = 0; i < propose->n_entries; i++)
        if (propose->entries[i].len > LIMIT_COMMAND_MAX)
            return false;
    return true;
}

static bool valid_offer(const Cfs__Peer__SnapshotOffer *offer)
{
    return sane(offer->term) && sane(offer->index) && offer->index > 0 && offer->index_term > 0 &&
           offer->index_term <= offer->term && offer->config_index > 0 &&
           offer->config_index <= offer->index && offer->size > 0 && offer->size <= WIRE_SIZE_MAX &&
           wire_config_valid(offer->config.data, offer->config.len);
}

static bool valid_vote(const Cfs__Peer__RequestVote *vote)
{
    return sane(vote->term) && sane(vote->last_index) && sane(vote->last_term) &&
           vote->version <= UINT8_MAX && vote->last_term <= vote->term &&
           (vote->last_index == 0) == (vote->last_term == 0);
}

static bool valid(const Cfs__Peer__Frame *frame)
{
    switch (frame->kind_case) {
    case CFS__PEER__FRAME__KIND_REQUEST_VOTE:
        return valid_vote(frame->request_vote);
    case CFS__PEER__FRAME__KIND_REQUEST_VOTE_RESULT:
        return sane(frame->request_vote_result->term) &&
               frame->request_vote_result->version <= UINT8_MAX;
    case CFS__PEER__FRAME__KIND_APPEND_ENTRIES:
        return valid_append(frame->append_entries) && frame->append_entries->version <= UINT8_MAX;
    case CFS__PEER__FRAME__KIND_APPEND_ENTRIES_RESULT:
        return sane(frame->append_entries_result->term) &&
               sane(frame->append_entries_result->rejected) &&
               sane(frame->append_entries_result->last_index) &&
               frame->append_entries_result->version <= UINT8_MAX;
    case CFS__PEER__FRAME__KIND_TIMEOUT_NOW:
        return sane(frame->timeout_now->term) && sane(frame->timeout_now->last_index) &&
               frame->timeout_now->version <= UINT8_MAX;
    case CFS__PEER__FRAME__KIND_PROPOSE:
        return valid_propose(frame->propose);
    case CFS__PEER__FRAME__KIND_READ_REPLY:
        return sane(frame->read_reply->index);
    case CFS__PEER__FRAME__KIND_READ_PROBE:
        return sane(frame->read_probe->term);
    case CFS__PEER__FRAME__KIND_READ_ACK:
        return sane(frame->read_ack->term);
    case CFS__PEER__FRAME__KIND_SNAPSHOT_OFFER:
        return valid_offer(frame->snapshot_offer);
    case CFS__PEER__FRAME__KIND_SNAPSHOT_CHUNK:
        return frame->snapshot_chunk->data.len <= WIRE_CHUNK_MAX &&
               frame->snapshot_chunk->offset <= WIRE_SIZE_MAX;
    case CFS__PEER__FRAME__KIND_SNAPSHOT_ACK:
        return frame->snapshot_ack->offset <= WIRE_SIZE_MAX;
    case CFS__PEER__FRAME__KIND_APP:
        return frame->app->data.len <= WIRE_APP_MAX;
    case CFS__PEER__FRAME__KIND_READ_REQUEST:
        return true;
    case CFS__PEER__FRAME__KIND__NOT_SET:
    case _CFS__PEER__FRAME__KIND__CASE_IS_INT_SIZE:
        break;
    }
    return false;
}

/* ---- Bytes ----------------------------------------------------------------------------------- */

Cfs__Peer__Frame *wire_decode(const uint8_t *data, size_t len)
{
    Cfs__Peer__Frame *frame;

    if (len > LIMIT_FRAME_MAX)
        return NULL;
    frame = (Cfs__Peer__Frame *)(void *)decode_message(&cfs__peer__frame__descriptor, data, len,
                                                       LIMIT_DECODE_BUDGET);
    if (frame == NULL || valid(frame))
        return frame;
    wire_free(frame);
    return NULL;
}

void wire_free(Cfs__Peer__Frame *frame)
{
    cfs__peer__frame__free_unpacked(frame, NULL);
}

struct buf wire_encode(const Cfs__Peer__Frame *frame)
{
    struct buf out = BUF_EMPTY;

    buf_reserve(&out, cfs__peer__frame__get_packed_size(frame));
    out.len = cfs__peer__frame__pack(frame, out.data);
    return out;
}

/* ---- libraft's messages: out ----------------------------------------------------------------- */

static struct buf encode_append(const struct raft_append_entries *args,
                                const struct machine_entry *entries)
{
    Cfs__Peer__Frame frame = CFS__PEER__FRAME__INIT;
    Cfs__Peer__AppendEntries append = CFS__PEER__APPEND_ENTRIES__INIT;
    Cfs__Peer__Entry *rows = xcalloc(args->n_entries, sizeof *rows);
    struct buf out;
    unsigned i;

    append.version = args->version;
    append.term = args->term;
    append.prev_index = args->prev_log_index;
    append.prev_term = args->prev_log_term;
    append.commit = args->leader_commit;
    append.n_entries = args->n_entries;
    append.entries = xcalloc(args->n_entries, sizeof(Cfs__Peer__Entry *));
    for (i = 0; i < args->n_entries; i++) {
        cfs__peer__entry__init(&rows[i]);
        rows[i].term = entries[i].term;
        rows[i].type = entries[i].type;
        rows[i].data.data = (uint8_t *)(uintptr_t)entries[i].data;
        rows[i].data.len = entries[i].len;
        append.entries[i] = &rows[i];
    }
    frame.kind_case = CFS__PEER__FRAME__KIND_APPEND_ENTRIES;
    frame.append_entries = &append;
    out = wire_encode(&frame);
    free(append.entries);
    free(rows);
    return out;
}

static struct buf encode_append_result(const struct raft_append_entries_result *args)
{
    Cfs__Peer__Frame frame = CFS__PEER__FRAME__INIT;
    Cfs__Peer__AppendEntriesResult result = CFS__PEER__APPEND_ENTRIES_RESULT__INIT;

    result.version = args->version;
    result.term = args->term;
    result.rejected = args->rejected;
    result.last_index = args->last_log_index;
    result.features = args->features;
    result.capacity = args->capacity;
    frame.kind_case = CFS__PEER__FRAME__KIND_APPEND_ENTRIES_RESULT;
    frame.append_entries_result = &result;
    return wire_encode(&frame);
}

static struct buf encode_vote(const struct raft_request_vote *args)
{
    Cfs__Peer__Frame frame = CFS__PEER__FRAME__INIT;
    Cfs__Peer__RequestVote vote = CFS__PEER__REQUEST_VOTE__INIT;

    vote.version = args->version;
    vote.term = args->term;
    vote.candidate = args->candidate_id;
    vote.last_index = args->last_log_index;
    vote.last_term = args->last_log_term;
    vote.disrupt = args->disrupt_leader;
    vote.pre_vote = args->pre_vote;
    frame.kind_case = CFS__PEER__FRAME__KIND_REQUEST_VOTE;
    frame.request_vote = &vote;
    return wire_encode(&frame);
}

static struct buf encode_vote_result(const struct raft_request_vote_result *args)
{
    Cfs__Peer__Frame frame = CFS__PEER__FRAME__INIT;
    Cfs__Peer__RequestVoteResult result = CFS__PEER__REQUEST_VOTE_RESULT__INIT;

    result.version = args->version;
    result.term = args->term;
    result.granted = args->vote_granted;
    result.pre_vote = args->pre_vote;
    result.features = args->features;
    result.capacity = args->capacity;
    frame.kind_case = CFS__PEER__FRAME__KIND_REQUEST_VOTE_RESULT;
    frame.request_vote_result = &result;
    return wire_encode(&frame);
}

static struct buf encode_timeout_now(const struct raft_timeout_now *args)
{
    Cfs__Peer__Frame frame = CFS__PEER__FRAME__INIT;
    Cfs__Peer__TimeoutNow now = CFS__PEER__TIMEOUT_NOW__INIT;

    now.version = args->version;
    now.term = args->term;
    now.last_index = args->last_log_index;
    now.last_term = args->last_log_term;
    frame.kind_case = CFS__PEER__FRAME__KIND_TIMEOUT_NOW;
    frame.timeout_now = &now;
    return wire_encode(&frame);
}

struct buf wire_encode_raft(const struct raft_message *message, const struct machine_entry *entries)
{
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        return encode_append(&message->append_entries, entries);
    case RAFT_APPEND_ENTRIES_RESULT:
        return encode_append_result(&message->append_entries_result);
    case RAFT_REQUEST_VOTE:
        return encode_vote(&message->request_vote);
    case RAFT_REQUEST_VOTE_RESULT:
        return encode_vote_result(&message->request_vote_result);
    case RAFT_TIMEOUT_NOW:
        return encode_timeout_now(&message->timeout_now);
    case RAFT_INSTALL_SNAPSHOT:
        break;
    }
    check(!"this message of libraft's has no encoding");
    return (struct buf)BUF_EMPTY;
}

/* ---- libraft's messages: in ------------------------------------------------------------------ */

static void append_from(const Cfs__Peer__AppendEntries *in, struct raft_append_entries *out)
{
    out->version = (unsigned char)in->version;
    out->term = in->term;
    out->prev_log_index = in->prev_index;
    out->prev_log_term = in->prev_term;
    out->leader_commit = in->commit;
    out->n_entries = (unsigned)in->n_entries;
}

static void append_result_from(const Cfs__Peer__AppendEntriesResult *in,
                               struct raft_append_entries_result *out)
{
    out->version = (unsigned char)in->version;
    out->term = in->term;
    out->rejected = in->rejected;
    out->last_log_index = in->last_index;
    out->features = (unsigned short)in->features;
    out->capacity = (unsigned short)in->capacity;
}

static void vote_from(const Cfs__Peer__RequestVote *in, struct raft_request_vote *out)
{
    out->version = (unsigned char)in->version;
    out->term = in->term;
    out->candidate_id = in->candidate;
    out->last_log_index = in->last_index;
    out->last_log_term = in->last_term;
    out->disrupt_leader = in->disrupt;
    out->pre_vote = in->pre_vote;
}

static void vote_result_from(const Cfs__Peer__RequestVoteResult *in,
                             struct raft_request_vote_result *out)
{
    out->version = (unsigned char)in->version;
    out->term = in->term;
    out->vote_granted = in->granted;
    out->pre_vote = in->pre_vote;
    out->features = (unsigned short)in->features;
    out->capacity = (unsigned short)in->capacity;
}

bool wire_to_raft(const Cfs__Peer__Frame *frame, uint64_t from, struct raft_message *out)
{
    memset(out, 0, sizeof *out);
    out->server_id = from;
    out->server_address = "-"; /* libraft requires one; links are found by id */
    if (frame->kind_case == CFS__PEER__FRAME__KIND_APPEND_ENTRIES) {
        out->type = RAFT_APPEND_ENTRIES;
        append_from(frame->append_entries, &out->append_entries);
    } else if (frame->kind_case == CFS__PEER__FRAME__KIND_APPEND_ENTRIES_RESULT) {
        out->type = RAFT_APPEND_ENTRIES_RESULT;
        append_result_from(frame->append_entries_result, &out->append_entries_result);
    } else if (frame->kind_case == CFS__PEER__FRAME__KIND_REQUEST_VOTE) {
        out->type = RAFT_REQUEST_VOTE;
        vote_from(frame->request_vote, &out->request_vote);
    } else if (frame->kind_case == CFS__PEER__FRAME__KIND_REQUEST_VOTE_RESULT) {
        out->type = RAFT_REQUEST_VOTE_RESULT;
        vote_result_from(frame->request_vote_result, &out->request_vote_result);
    } else if (frame->kind_case == CFS__PEER__FRAME__KIND_TIMEOUT_NOW) {
        out->type = RAFT_TIMEOUT_NOW;
        out->timeout_now.version = (unsigned char)frame->timeout_now->version;
        out->timeout_now.term = frame->timeout_now->term;
        out->timeout_now.last_log_index = frame->timeout_now->last_index;
        out->timeout_now.last_log_term = frame->timeout_now->last_term;
    } else {
        return false;
    }
    return true;
}

struct raft_entry *wire_entries(const Cfs__Peer__AppendEntries *append)
{
    struct raft_entry *entries;
    size_t i;

    if (append->n_entries == 0)
        return NULL;
    entries = xcalloc(append->n_entries, sizeof *entries);
    for (i = 0; i < append->n_entries; i++) {
        entries[i].term = append->entries[i]->term;
        entries[i].type = (enum raft_entry_type)append->entries[i]->type;
        entries[i].buf.base = append->entries[i]->data.data;
        entries[i].buf.len = append->entries[i]->data.len;
    }
    return entries;
}
