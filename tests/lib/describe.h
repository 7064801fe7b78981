/* SPDX-License-Identifier: Apache-2.0 */
/* Log entries and messages as text, for a failing test's report. */
#ifndef TESTS_LIB_DESCRIBE_H
#define TESTS_LIB_DESCRIBE_H

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"
#include "store/store.h"

/* Appends one line that describes the entry. */
void describe_entry(const struct store_entry *entry, struct buf *out);

/* Appends the fields of a message that are not empty; long byte strings as their length. */
void describe_message(const ProtobufCMessage *message, struct buf *out);

#endif
