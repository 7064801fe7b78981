/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on ranges of content: fallocate, copy_file_range. proto/command.proto says what each
 * does and answers. See store/op.h. */
#ifndef STORE_RANGE_H
#define STORE_RANGE_H

#include "store/op.h"

uint32_t range_fallocate(struct op *op, const Cfs__Fallocate *c);
uint32_t range_copy(struct op *op, const Cfs__Copy *c);

#endif
