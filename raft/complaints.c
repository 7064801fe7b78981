/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/complaints.h"

#include <string.h>
#include <xxhash.h>

bool complaints_may(struct complaints *c, uint64_t now_ms, const char *who, const char *what)
{
    uint64_t key = XXH3_64bits_withSeed(what, strlen(what), XXH3_64bits(who, strlen(who)));
    size_t oldest = 0;

    for (size_t i = 0; i < COMPLAINTS_MAX; i++) {
        if (c->said[i].key == key && now_ms < c->said[i].until)
            return false;
        if (c->said[i].until < c->said[oldest].until)
            oldest = i;
    }
    c->said[oldest].key = key;
    c->said[oldest].until = now_ms + COMPLAINTS_MS;
    return true;
}
