/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/app.h"

#include <stdlib.h>

#include "proto/decode.h"

#define DECODE_MAX (256u << 10)

void app_send(struct daemon *d, uint64_t peer, const Cfs__App *app)
{
    size_t len = cfs__app__get_packed_size(app);
    uint8_t *bytes = xmalloc(len);

    cfs__app__pack(app, bytes);
    driver_send_app(consensus_driver(d->consensus), peer, bytes, len);
    free(bytes);
}

Cfs__App *app_decode(const uint8_t *data, size_t len)
{
    return (Cfs__App *)(void *)decode_message(&cfs__app__descriptor, data, len, DECODE_MAX);
}
