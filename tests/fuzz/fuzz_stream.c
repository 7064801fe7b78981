/* SPDX-License-Identifier: Apache-2.0 */
/* A stream from a peer that arrives in pieces: frames with arbitrary sizes and checksums. The first
 * byte selects the sizes of the pieces. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "raft/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct frame_reader r;
    size_t piece = len > 0 ? 1u + data[0] * 7u : 1, at = 1;
    int more = 0;

    frame_reader_init(&r, 4096);
    while (at < len && more >= 0) {
        const uint8_t *payload;
        uint8_t *room;
        size_t n, payload_len;

        frame_reader_room(&r, &room, &n);
        check(n >= FRAME_READ);
        n = min_u64(min_u64(n, piece), len - at);
        memcpy(room, data + at, n);
        frame_reader_filled(&r, n);
        at += n;
        while ((more = frame_reader_next(&r, &payload, &payload_len)) > 0) {
            uint8_t header[FRAME_HEADER];

            check(payload_len > 0 && payload_len <= 4096);
            frame_header(header, payload, payload_len); /* reads all bytes */
            check(memcmp(header, payload - FRAME_HEADER, FRAME_HEADER) == 0);
        }
    }
    frame_reader_fini(&r);
    return 0;
}
