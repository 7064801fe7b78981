/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/describe.h"

#include <string.h>

#include "proto/command.pb-c.h"
#include "proto/stamp.h"

static void describe_bytes(const ProtobufCBinaryData *b, struct buf *out)
{
    if (b->len > 40) {
        buf_printf(out, "<%zu bytes %02x%02x…>", b->len, b->data[0], b->data[1]);
        return;
    }
    buf_printf(out, "\"");
    for (size_t i = 0; i < b->len; i++) {
        if (b->data[i] > 32 && b->data[i] < 127)
            buf_printf(out, "%c", b->data[i]);
        else
            buf_printf(out, "\\x%02x", b->data[i]);
    }
    buf_printf(out, "\"");
}

static void describe_value(const ProtobufCFieldDescriptor *f, const void *at, struct buf *out)
{
    switch ((int)f->type) {
    case PROTOBUF_C_TYPE_UINT32:
        buf_printf(out, strstr(f->name, "mode") ? "0%o" : "%u", *(const uint32_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        buf_printf(out, "%llu", (unsigned long long)*(const uint64_t *)at);
        break;
    case PROTOBUF_C_TYPE_SFIXED64:
        buf_printf(out, "%lld", (long long)*(const int64_t *)at);
        break;
    case PROTOBUF_C_TYPE_ENUM:
        buf_printf(out, "%d", *(const int *)at);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        buf_printf(out, "yes");
        break;
    case PROTOBUF_C_TYPE_BYTES:
        describe_bytes(at, out);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        describe_message(*(ProtobufCMessage *const *)at, out);
        break;
    default:
        buf_printf(out, "?");
        break;
    }
}

static size_t value_size(const ProtobufCFieldDescriptor *f)
{
    switch ((int)f->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return 8;
    default:
        return 4;
    }
}

static bool is_empty(const ProtobufCFieldDescriptor *f, const void *at)
{
    static const uint8_t zeros[16];

    if (f->type == PROTOBUF_C_TYPE_BYTES)
        return ((const ProtobufCBinaryData *)at)->len == 0;
    return memcmp(at, zeros, value_size(f)) == 0;
}

static void describe_field(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                           struct buf *out)
{
    const char *base = (const char *)m;
    const char *at = base + f->offset;
    size_t count = 1;

    if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
        *(const uint32_t *)(const void *)(base + f->quantifier_offset) != f->id)
        return;
    if (f->label == PROTOBUF_C_LABEL_REPEATED) {
        count = *(const size_t *)(const void *)(base + f->quantifier_offset);
        at = *(char *const *)(const void *)at;
    } else if (is_empty(f, at)) {
        return;
    }
    for (size_t i = 0; i < count && i < 8; i++) {
        buf_printf(out, " %s=", f->name);
        describe_value(f, at + i * value_size(f), out);
    }
    if (count > 8)
        buf_printf(out, " … %zu of them", count);
}

void describe_message(const ProtobufCMessage *message, struct buf *out)
{
    buf_printf(out, "{");
    for (unsigned i = 0; i < message->descriptor->n_fields; i++)
        describe_field(message, &message->descriptor->fields[i], out);
    buf_printf(out, " }");
}

void describe_entry(const struct store_entry *entry, struct buf *out)
{
    struct stamp s;
    Cfs__Command *command;

    if (entry->type != STORE_COMMAND) {
        buf_printf(out, "entry of type %d", entry->type);
        return;
    }
    check(stamp_decode(entry->data, entry->len, &s));
    command = cfs__command__unpack(NULL, entry->len - STAMP_SIZE, entry->data + STAMP_SIZE);
    check(command != NULL);
    buf_printf(out, "session %llu seq %llu acked %llu time %lld ", (unsigned long long)s.session,
               (unsigned long long)s.seq, (unsigned long long)s.acked, (long long)s.time_ns);
    describe_message(&command->base, out);
    cfs__command__free_unpacked(command, NULL);
}
