#include "proto/decode.h"

#include <stdlib.h>

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
