/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/words.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool words_fail(struct words *w, const char *fmt, ...)
{
    size_t n = (size_t)snprintf(w->errmsg, w->errmsg_len, "line %u: ", w->line);
    va_list args;

    va_start(args, fmt);
    if (n < w->errmsg_len)
        vsnprintf(w->errmsg + n, w->errmsg_len - n, fmt, args);
    va_end(args);
    return false;
}

static int peek(const struct words *w)
{
    return w->at < w->end ? (unsigned char)*w->at : -1;
}

static int next(struct words *w)
{
    int c = peek(w);

    if (c == '\n')
        w->next_line++;
    if (c >= 0)
        w->at++;
    return c;
}

static void put_byte(struct word *word, int c)
{
    uint8_t byte = (uint8_t)c;

    buf_append(&word->bytes, &byte, 1);
}

static int hex(int c)
{
    return isdigit(c) ? c - '0' : isxdigit(c) ? tolower(c) - 'a' + 10 : -1;
}

/* Behind a backslash within "…". */
static bool escape(struct words *w, struct word *word)
{
    static const char names[] = "nt0", values[] = "\n\t";
    int c = next(w), high, low;
    const char *name = c > 0 ? strchr(names, c) : NULL;

    if (c < 0)
        return words_fail(w, "a backslash at the end");
    if (c == 'x') {
        high = hex(next(w));
        low = hex(next(w));
        if (high < 0 || low < 0)
            return words_fail(w, "\\x wants two hexadecimal digits");
        put_byte(word, high << 4 | low);
    } else if (c != '\n') {
        put_byte(word, name != NULL ? values[name - names] : c);
    }
    return true;
}

static bool read_quoted(struct words *w, struct word *word, int quote)
{
    int c;

    word->quoted = true;
    while ((c = next(w)) != quote) {
        if (c < 0)
            return words_fail(w, "the quote %c is not closed", quote);
        if (c != '\\' || quote == '\'')
            put_byte(word, c);
        else if (!escape(w, word))
            return false;
    }
    return true;
}

static bool read_word(struct words *w)
{
    struct word *word = &w->words[w->n];
    int c;

    if (w->n == WORDS_MAX)
        return words_fail(w, "too many words");
    *word = (struct word){.bytes = BUF_EMPTY};
    w->n++;
    while ((c = peek(w)) >= 0 && !isspace(c)) {
        next(w);
        if (c == '\'' || c == '"') {
            if (!read_quoted(w, word, c))
                return false;
        } else if (c == '\\') {
            if ((c = next(w)) < 0)
                return words_fail(w, "a backslash at the end");
            word->quoted = true;
            put_byte(word, c);
        } else {
            put_byte(word, c);
        }
    }
    put_byte(word, '\0');
    word->bytes.len--;
    return true;
}

/* The lines behind the current one, up to the mark. */
static bool read_document(struct words *w, struct word *word)
{
    char *mark = xstrdup(words_text(word) + 2);
    size_t mark_len = strlen(mark);
    bool found = false;

    next(w); /* the end of this line */
    word->bytes.len = 0;
    word->quoted = true;
    while (!found && w->at < w->end) {
        const char *eol = memchr(w->at, '\n', (size_t)(w->end - w->at));
        size_t len = (size_t)((eol != NULL ? eol : w->end) - w->at);

        found = len == mark_len && memcmp(w->at, mark, len) == 0;
        if (!found)
            buf_append(&word->bytes, w->at, len + (eol != NULL ? 1 : 0));
        w->at += len + (eol != NULL ? 1 : 0);
        w->next_line++;
    }
    if (!found)
        words_fail(w, "no line '%s' ends the text", mark);
    put_byte(word, '\0');
    word->bytes.len--;
    free(mark);
    return found;
}

static void skip_to(struct words *w, const char *stop)
{
    while (peek(w) >= 0 && strchr(stop, peek(w)) == NULL)
        w->at++;
}

/* Empties the line. */
static void drop(struct words *w)
{
    for (unsigned i = 0; i < w->n; i++)
        buf_fini(&w->words[i].bytes);
    w->n = 0;
}

/* The words of the next line; false after a message. */
static bool read_line(struct words *w)
{
    struct word *last;

    w->line = w->next_line;
    for (;;) {
        while (peek(w) >= 0 && peek(w) != '\n' && isspace(peek(w)))
            w->at++;
        if (peek(w) == '#')
            skip_to(w, "\n");
        if (peek(w) < 0 || peek(w) == '\n')
            break;
        if (!read_word(w))
            return false;
    }
    last = w->n > 0 ? &w->words[w->n - 1] : NULL;
    if (last == NULL || last->quoted || strncmp(words_text(last), "<<", 2) != 0) {
        next(w);
        return true;
    }
    return strlen(words_text(last)) > 2 ? read_document(w, last)
                                        : words_fail(w, "<< wants a word that ends the text");
}

bool words_read(struct words *w, bool *error)
{
    bool more = w->at < w->end;

    drop(w);
    *error = more && !read_line(w);
    return more && !*error;
}

void words_init(struct words *w, const char *text, size_t len, char *errmsg, size_t errmsg_len)
{
    *w = (struct words){.line = 1, .next_line = 1, .at = text, .end = text + len};
    w->errmsg = errmsg;
    w->errmsg_len = errmsg_len;
}

void words_fini(struct words *w)
{
    drop(w);
}
