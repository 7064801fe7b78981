/* SPDX-License-Identifier: Apache-2.0 */
/* Commands: if store_acceptable() accepts the input, a session applies it. It must neither kill the
 * store nor violate an invariant. A refused input never gets into a log. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proto/encode.h"
#include "tests/lib/store_kit.h"

#define CHECK_EVERY 5000 /* inputs; then a new tree begins */

static struct kit kit;
static unsigned inputs;

static void begin(void)
{
    kit_init(&kit);
    kit_file(&kit, 1, "a");
    kit_dir(&kit, 1, "b");
}

static void end(void)
{
    kit_fini(&kit); /* with store_check() */
    memset(&kit, 0, sizeof kit);
}

int LLVMFuzzerInitialize(int *argc BASE_UNUSED, char ***argv BASE_UNUSED)
{
    log_set_level(LOG_LEVEL_ERROR);
    setenv("TMPDIR", "/dev/shm", 0);
    begin();
    atexit(end);
    return 0;
}

static enum store_outcome apply(const uint8_t *data, size_t len)
{
    struct store_entry entry = {1, STORE_COMMAND, data, len};
    struct store_result result;

    store_begin(kit.store);
    store_log_append(kit.store, store_applied(kit.store) + 1, &entry);
    store_apply(kit.store, store_applied(kit.store) + 1, &entry, &result);
    if (result.reply != NULL) {
        Cfs__Reply *reply = cfs__reply__unpack(NULL, result.reply_len, result.reply);

        check(reply != NULL);
        check(reply->status == 0 || result.n_changes == 0);
        cfs__reply__free_unpacked(reply, NULL);
    }
    store_commit(kit.store, false);
    if (result.nonce != 0)
        kit.session = result.session;
    return result.outcome;
}

static void open_session(void)
{
    struct stamp stamp = {.time_ns = 1};
    Cfs__OpenSession open = CFS__OPEN_SESSION__INIT;
    Cfs__Command c = CFS__COMMAND__INIT;
    struct buf entry;

    open.member = 1;
    open.nonce = 1000 + inputs;
    c.op_case = CFS__COMMAND__OP_OPEN_SESSION;
    c.open_session = &open;
    entry = encode_stamped(&stamp, &c);
    apply(entry.data, entry.len);
    buf_fini(&entry);
    kit.seq = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct stamp stamp = {.session = kit.session, .seq = kit.seq + 1, .acked = kit.seq};
    uint8_t *entry = malloc(STAMP_SIZE + len);

    check(entry != NULL);
    (void)store_acceptable(data, len); /* with an arbitrary stamp */
    stamp.time_ns = 1700000000000000000 + inputs;
    stamp_encode(&stamp, entry);
    if (len > 0)
        memcpy(entry + STAMP_SIZE, data, len);
    if (store_acceptable(entry, STAMP_SIZE + len)) {
        kit.seq++;
        if (apply(entry, STAMP_SIZE + len) == STORE_NO_SESSION)
            open_session(); /* the command has closed the session */
    }
    free(entry);
    if (++inputs % CHECK_EVERY != 0)
        return 0;
    end();
    begin();
    return 0;
}
