/* SPDX-License-Identifier: Apache-2.0 */
/* Stamps: an accepted stamp has exactly the bytes that the encoder writes for it. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "proto/stamp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    uint8_t again[STAMP_SIZE];
    struct stamp stamp;

    if (!stamp_decode(data, len, &stamp))
        return 0;
    check(len >= STAMP_SIZE);
    check(stamp.session == 0 || stamp.acked < stamp.seq);
    stamp_encode(&stamp, again);
    check(memcmp(again, data, STAMP_SIZE) == 0);
    return 0;
}
