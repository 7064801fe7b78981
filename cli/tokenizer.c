/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/tokenizer.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool tokenizer_fail(struct tokenizer *t, const char *fmt, ...)
{
    size_t n = (size_t)snprintf(t->errmsg, t->errmsg_len, "line %u: ", t->line);
    va_list args;

    va_start(args, fmt);
    if (n < t->errmsg_len)
        vsnprintf(t->errmsg + n, t->errmsg_len - n, fmt, args);
    va_end(args);
    return false;
}

static int peek(const struct tokenizer *t)
{
    return t->at < t->end ? (unsigned char)*t->at : -1;
}

static int next(struct tokenizer *t)
{
    int c = peek(t);

    if (c == '\n')
        t->next_line++;
    if (c >= 0)
        t->at++;
    return c;
}

static void put_byte(struct token *token, int c)
{
    uint8_t byte = (uint8_t)c;

    buf_append(&token->bytes, &byte, 1);
}

static int hex(int c)
{
    return isdigit(c) ? c - '0' : isxdigit(c) ? tolower(c) - 'a' + 10 : -1;
}

/* Reads what follows a backslash within "…". */
static bool escape(struct tokenizer *t, struct token *token)
{
    static const char names[] = "nt0", values[] = "\n\t";
    int c = next(t), high, low;
    const char *name = c > 0 ? strchr(names, c) : NULL;

    if (c < 0)
        return tokenizer_fail(t, "a backslash ends the input");
    if (c == 'x') {
        high = hex(next(t));
        low = hex(next(t));
        if (high < 0 || low < 0)
            return tokenizer_fail(t, "\\x needs two hexadecimal digits");
        put_byte(token, high << 4 | low);
    } else if (c != '\n') {
        put_byte(token, name != NULL ? values[name - names] : c);
    }
    return true;
}

static bool read_quoted(struct tokenizer *t, struct token *token, int quote)
{
    int c;

    token->quoted = true;
    while ((c = next(t)) != quote) {
        if (c < 0)
            return tokenizer_fail(t, "the quote %c is not closed", quote);
        if (c != '\\' || quote == '\'')
            put_byte(token, c);
        else if (!escape(t, token))
            return false;
    }
    return true;
}

static bool read_token(struct tokenizer *t)
{
    struct token *token = &t->tokens[t->n];
    int c;

    if (t->n == TOKENIZER_MAX)
        return tokenizer_fail(t, "a line has at most %d words", TOKENIZER_MAX);
    *token = (struct token){.bytes = BUF_EMPTY};
    t->n++;
    while ((c = peek(t)) >= 0 && !isspace(c)) {
        next(t);
        if (c == '\'' || c == '"') {
            if (!read_quoted(t, token, c))
                return false;
        } else if (c == '\\') {
            if ((c = next(t)) < 0)
                return tokenizer_fail(t, "a backslash ends the input");
            token->quoted = true;
            put_byte(token, c);
        } else {
            put_byte(token, c);
        }
    }
    put_byte(token, '\0');
    token->bytes.len--;
    return true;
}

/* Reads the following lines up to the mark into the token. */
static bool read_document(struct tokenizer *t, struct token *token)
{
    char *mark = xstrdup(tokenizer_text(token) + 2);
    size_t mark_len = strlen(mark);
    bool found = false;

    next(t); /* the end of this line */
    token->bytes.len = 0;
    token->quoted = true;
    while (!found && t->at < t->end) {
        const char *eol = memchr(t->at, '\n', (size_t)(t->end - t->at));
        size_t len = (size_t)((eol != NULL ? eol : t->end) - t->at);

        found = len == mark_len && memcmp(t->at, mark, len) == 0;
        if (!found)
            buf_append(&token->bytes, t->at, len + (eol != NULL ? 1 : 0));
        t->at += len + (eol != NULL ? 1 : 0);
        t->next_line++;
    }
    if (!found)
        tokenizer_fail(t, "the line '%s' that ends the text is missing", mark);
    put_byte(token, '\0');
    token->bytes.len--;
    free(mark);
    return found;
}

static void skip_to(struct tokenizer *t, const char *stop)
{
    while (peek(t) >= 0 && strchr(stop, peek(t)) == NULL)
        t->at++;
}

/* Frees the tokens of the line. */
static void drop(struct tokenizer *t)
{
    for (unsigned i = 0; i < t->n; i++)
        buf_fini(&t->tokens[i].bytes);
    t->n = 0;
}

/* Reads the words of the next line. False after a message. */
static bool read_line(struct tokenizer *t)
{
    struct token *last;

    t->line = t->next_line;
    for (;;) {
        while (peek(t) >= 0 && peek(t) != '\n' && isspace(peek(t)))
            t->at++;
        if (peek(t) == '#')
            skip_to(t, "\n");
        if (peek(t) < 0 || peek(t) == '\n')
            break;
        if (!read_token(t))
            return false;
    }
    last = t->n > 0 ? &t->tokens[t->n - 1] : NULL;
    if (last == NULL || last->quoted || strncmp(tokenizer_text(last), "<<", 2) != 0) {
        next(t);
        return true;
    }
    return strlen(tokenizer_text(last)) > 2
               ? read_document(t, last)
               : tokenizer_fail(t, "<< needs a word that ends the text");
}

bool tokenizer_read(struct tokenizer *t, bool *error)
{
    bool more = t->at < t->end;

    drop(t);
    *error = more && !read_line(t);
    return more && !*error;
}

void tokenizer_init(struct tokenizer *t, const char *text, size_t len, char *errmsg,
                    size_t errmsg_len)
{
    *t = (struct tokenizer){.line = 1, .next_line = 1, .at = text, .end = text + len};
    t->errmsg = errmsg;
    t->errmsg_len = errmsg_len;
}

void tokenizer_fini(struct tokenizer *t)
{
    drop(t);
}
