/* SPDX-License-Identifier: Apache-2.0 */
/* Decodes bytes that come from outside. Like protobuf-c's unpack, but with a bound on the memory,
 * so that a small hostile message cannot make the program allocate much. */
#ifndef PROTO_DECODE_H
#define PROTO_DECODE_H

#include <protobuf-c/protobuf-c.h>

#include "base/base.h"

/* Returns the message; NULL if the bytes are not such a message, or if decoding them would need
 * more than `budget` bytes. Gives: free it with protobuf_c_message_free_unpacked(message, NULL).
 * Any thread. */
ProtobufCMessage *decode_message(const ProtobufCMessageDescriptor *type, const uint8_t *data,
                                 size_t len, size_t budget);

/* True if this program knows every field of the message and of the messages in it. Pure. */
bool decode_is_known(const ProtobufCMessage *message);

#endif
