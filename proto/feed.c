/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/feed.h"

#include <string.h>

#define SECOND UINT64_C(1000000000)

static const char *const ops[] = {
    [CFS__CHANGE__KIND__CREATE] = "create", [CFS__CHANGE__KIND__LINK] = "link",
    [CFS__CHANGE__KIND__UNLINK] = "unlink", [CFS__CHANGE__KIND__RMDIR] = "rmdir",
    [CFS__CHANGE__KIND__RENAME] = "rename", [CFS__CHANGE__KIND__EXCHANGE] = "exchange",
    [CFS__CHANGE__KIND__DATA] = "data",     [CFS__CHANGE__KIND__ATTR] = "attr",
    [CFS__CHANGE__KIND__XATTR] = "xattr",
};

const char *feed_op(uint64_t kind)
{
    return kind < ARRAY_LEN(ops) && ops[kind] != NULL ? ops[kind] : "unknown";
}

/* ---- Pieces -----------------------------------------------------------------------------------*/

/* A line is made for each change that is applied, so printf would be too slow. */

static void put(struct buf *out, const char *text)
{
    buf_append(out, text, strlen(text));
}

/* Appends the number in decimal, with at least `digits` digits. */
static void put_number(struct buf *out, uint64_t value, unsigned digits)
{
    char text[20];
    size_t at = sizeof text;

    while (value > 0 || digits > 0) {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
        digits -= digits > 0 ? 1 : 0;
    }
    buf_append(out, text + at, sizeof text - at);
}

static void put_field(struct buf *out, const char *name, uint64_t value)
{
    put(out, name);
    put_number(out, value, 1);
}

static void put_time(struct buf *out, int64_t ns)
{
    uint64_t size = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;

    put(out, ns < 0 ? ",\"time\":-" : ",\"time\":");
    put_number(out, size / SECOND, 1);
    put(out, ".");
    put_number(out, size % SECOND, 9);
}

/* Returns the length of the UTF-8 character at p; 0 if there is none (Unicode 15, table 3-7). */
static size_t character(const uint8_t *p, size_t len)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t n = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;

    if (n == 0 || n > len)
        return 0;
    low = *p == 0xe0 ? 0xa0 : *p == 0xf0 ? 0x90 : low;
    high = *p == 0xed ? 0x9f : *p == 0xf4 ? 0x8f : high;
    for (size_t i = 1; i < n; i++) {
        if (p[i] < low || p[i] > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return n;
}

static void put_escape(struct buf *out, const char *prefix, uint8_t byte)
{
    static const char digits[] = "0123456789abcdef";
    char hex[2] = {digits[byte >> 4], digits[byte & 15]};

    put(out, prefix);
    buf_append(out, hex, sizeof hex);
}

static void put_json_path(struct buf *out, const char *name, struct feed_path path)
{
    size_t i = 0, plain = 0, n;

    put(out, name);
    if (path.len == 0) {
        put(out, "null");
        return;
    }
    put(out, "\"");
    while (i < path.len) {
        uint8_t c = path.data[i];

        n = character(path.data + i, path.len - i);
        if (n > 0 && c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) {
            i += n;
            continue;
        }
        buf_append(out, path.data + plain, i - plain);
        put_escape(out, n == 0 ? "\\udc" : "\\u00", c);
        plain = ++i;
    }
    buf_append(out, path.data + plain, i - plain);
    put(out, "\"");
}

/* ---- Lines ------------------------------------------------------------------------------------*/

void feed_json(struct buf *out, const struct feed_change *c)
{
    buf_reserve(out, 256 + c->path.len + c->new_path.len);
    put_field(out, "{\"index\":", c->index);
    put_field(out, ",\"more\":", c->more);
    put_time(out, c->time_ns);
    put(out, ",\"op\":\"");
    put(out, feed_op(c->kind));
    put_json_path(out, "\",\"path\":", c->path);
    if (c->new_path.len > 0)
        put_json_path(out, ",\"new_path\":", c->new_path);
    put_field(out, ",\"ino\":", c->ino);
    put_field(out, ",\"version\":", c->version);
    put_field(out, ",\"session\":", c->session);
    put_field(out, ",\"member\":", c->member);
    put(out, "}\n");
}

static void put_text_path(struct buf *out, struct feed_path path)
{
    for (size_t i = 0; i < path.len; i++) {
        uint8_t c = path.data[i];
        char octal[4] = {'\\', (char)('0' + (c >> 6)), (char)('0' + (c >> 3 & 7)),
                         (char)('0' + (c & 7))};

        if (c < 0x20 || c == '\\' || c == 0x7f)
            buf_append(out, octal, sizeof octal);
        else
            buf_append(out, &c, 1);
    }
    if (path.len == 0)
        put(out, "(unlinked)");
}

void feed_text(struct buf *out, const struct feed_change *c)
{
    put_number(out, c->index, 1);
    put(out, " ");
    put(out, feed_op(c->kind));
    put(out, " ");
    put_text_path(out, c->path);
    if (c->new_path.len > 0) {
        put(out, " -> ");
        put_text_path(out, c->new_path);
    }
    put(out, "\n");
}

/* ---- Selection --------------------------------------------------------------------------------*/

/* True if `path` is `top` or below it. *rest: the part of path behind top, without the slash. */
static bool is_below(struct feed_path path, struct feed_path top, struct feed_path *rest)
{
    size_t len = top.len == 1 ? 0 : top.len; /* "/" has no slash of its own as a prefix */

    *rest = (struct feed_path){NULL, 0};
    if (path.len < len || (len > 0 && memcmp(path.data, top.data, len) != 0))
        return false;
    if (path.len == len || path.data[len] != '/')
        return path.len == len;
    *rest = (struct feed_path){path.data + len + 1, path.len - len - 1};
    return true;
}

static bool path_matches(const struct feed_change *c, struct feed_path at, struct feed_path path,
                         bool recursive)
{
    bool moves = c->kind == CFS__CHANGE__KIND__RENAME || c->kind == CFS__CHANGE__KIND__EXCHANGE;
    struct feed_path rest;

    if (at.len == 0 || *at.data != '/') /* the path is incomplete or missing */
        return recursive && path.len == 1;
    if (is_below(at, path, &rest))
        return recursive || rest.len == 0 || memchr(rest.data, '/', rest.len) == NULL;
    return moves && is_below(path, at, &rest);
}

bool feed_matches(const struct feed_change *c, struct feed_path path, bool recursive)
{
    return path_matches(c, c->path, path, recursive) ||
           (c->new_path.len > 0 && path_matches(c, c->new_path, path, recursive));
}
