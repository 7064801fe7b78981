/* SPDX-License-Identifier: Apache-2.0 */
#include "raft/log_ratelimit.h"

#include <string.h>
#include <xxhash.h>

bool log_ratelimit_allows(struct log_ratelimit *c, uint64_t now_ms, const char *origin,
                          const char *text)
{
    uint64_t key = XXH3_64bits_withSeed(text, strlen(text), XXH3_64bits(origin, strlen(origin)));
    size_t oldest = 0;

    for (size_t i = 0; i < LOG_RATELIMIT_MAX; i++) {
        if (c->said[i].key == key && now_ms < c->said[i].until)
            return false;
        if (c->said[i].until < c->said[oldest].until)
            oldest = i;
    }
    c->said[oldest].key = key;
    c->said[oldest].until = now_ms + LOG_RATELIMIT_MS;
    return true;
}
