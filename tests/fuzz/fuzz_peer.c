/* SPDX-License-Identifier: Apache-2.0 */
/* Messages from a peer, decoded and translated for libraft. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "raft/wire.h"

static void translate(const Cfs__Peer__Frame *frame)
{
    struct raft_message message;
    struct raft_entry *entries;

    if (!wire_to_raft(frame, 2, &message) || message.type != RAFT_APPEND_ENTRIES)
        return;
    entries = wire_entries(frame->append_entries);
    for (unsigned i = 0; i < message.append_entries.n_entries; i++)
        check(entries[i].buf.len == 0 || entries[i].buf.base != NULL);
    free(entries);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    Cfs__Peer__Frame *frame = wire_decode(data, len);
    struct buf again;

    if (wire_config_valid(data, len)) {
        struct raft_configuration config;
        struct raft_buffer bytes = {(void *)(uintptr_t)data, len};

        check(raft_configuration_decode(&bytes, &config) == 0);
        raft_configuration_close(&config);
    }
    if (frame == NULL)
        return 0;
    translate(frame);
    again = wire_encode(frame);
    buf_fini(&again);
    wire_free(frame);
    return 0;
}
