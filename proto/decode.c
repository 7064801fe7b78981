/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/decode.h"

#include <stdlib.h>
#include <string.h>

struct budget {
    size_t left;
};

static void *budget_alloc(void *ctx, size_t size)
{
    struct budget *b = ctx;

    if (size > b->left)
        return NULL;
    b->left -= size;
    return malloc(size > 0 ? size : 1);
}

static void budget_free(void *ctx BASE_UNUSED, void *ptr)
{
    free(ptr);
}

ProtobufCMessage *decode_message(const ProtobufCMessageDescriptor *type, const uint8_t *data,
                                 size_t len, size_t budget)
{
    struct budget b = {budget};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &b};

    return protobuf_c_message_unpack(type, &allocator, len, data);
}

static const ProtobufCMessage *message_at(const void *place)
{
    const ProtobufCMessage *message;

    memcpy(&message, place, sizeof message);
    return message;
}

static bool is_field_known(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const char *base = (const char *)message;
    const char *items;
    uint32_t which;
    size_t n;

    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        memcpy(&n, base + field->quantifier_offset, sizeof n);
        memcpy(&items, base + field->offset, sizeof items);
        for (size_t i = 0; i < n; i++)
            if (!decode_is_known(message_at(items + i * sizeof(void *))))
                return false;
        return true;
    }
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        memcpy(&which, base + field->quantifier_offset, sizeof which);
        if (which != field->id)
            return true;
    }
    message = message_at(base + field->offset);
    return message == NULL || decode_is_known(message);
}

bool decode_is_known(const ProtobufCMessage *message)
{
    if (message->n_unknown_fields > 0)
        return false;
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];

        if (field->type == PROTOBUF_C_TYPE_MESSAGE && !is_field_known(message, field))
            return false;
    }
    return true;
}
