/* SPDX-License-Identifier: Apache-2.0 */
/* The text of `coordfs txn`: an accepted transaction is also accepted by the mount, and each of its
 * steps has a path, an operation, a line and a verb. A refusal is explained. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/txn_text.h"
#include "fs/kernel/payload.h"
#include "proto/limits.h"

static void check_steps(const struct txn_text *t)
{
    check(t->txn->n_steps > 0 && t->txn->n_steps <= LIMIT_TXN_STEPS);
    for (size_t i = 0; i < t->txn->n_steps; i++) {
        const Cfs__TxnStep *step = t->txn->steps[i];

        check(step->path.len > 0 && memchr(step->path.data, '\0', step->path.len) == NULL);
        check(step->op_case != CFS__TXN_STEP__OP__NOT_SET);
        check(t->lines[i] > 0 && (i == 0 || t->lines[i] > t->lines[i - 1]));
        check(t->verbs[i][0] != '\0');
    }
}

static void check_bytes(const Cfs__Txn *txn)
{
    size_t len = cfs__txn__get_packed_size(txn);
    uint8_t *bytes = xmalloc(len), *again = xmalloc(len);
    Cfs__Txn *copy;

    check(cfs__txn__pack(txn, bytes) == len);
    copy = payload_txn(bytes, len);
    check(copy != NULL && cfs__txn__get_packed_size(copy) == len);
    check(cfs__txn__pack(copy, again) == len && memcmp(bytes, again, len) == 0);
    cfs__txn__free_unpacked(copy, NULL);
    free(again);
    free(bytes);
}

int LLVMFuzzerInitialize(int *argc BASE_UNUSED, char ***argv BASE_UNUSED)
{
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char mount[] = "/mnt", root[] = "/", errmsg[256] = "";
    const struct path_mount mounted = {mount, root};
    struct txn_text t;
    int err = txn_text_parse((const char *)data, len, len % 2 ? &mounted : NULL, 022, &t, errmsg,
                             sizeof errmsg);

    check(err == 0 || err == -EINVAL);
    check((err != 0) == (errmsg[0] != '\0'));
    if (err != 0)
        return 0;
    check_steps(&t);
    check_bytes(t.txn);
    txn_text_fini(&t);
    return 0;
}
