/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of words, quoted as in a shell. In '…' everything is literal; in "…" and outside of quotes
 * a backslash takes away the next character's meaning, and in "…" \n, \t, \0, \xHH stand for bytes.
 * Quotes may span lines; adjacent pieces are one word. # begins a comment. A last word <<END is the
 * lines that follow, up to one that is END; nothing in them is special. */
#ifndef CLI_TOKENIZER_H
#define CLI_TOKENIZER_H

#include "base/buf.h"

#define TOKENIZER_MAX 32

struct token {
    struct buf bytes; /* any bytes; terminated by a NUL that is not counted */
    bool quoted;      /* some of it is */
};

struct tokenizer {
    struct token tokens[TOKENIZER_MAX]; /* of the line that was read last */
    unsigned n;
    unsigned line; /* where that line begins, from 1 */

    const char *at, *end; /* what is still to be read */
    unsigned next_line;
    char *errmsg;
    size_t errmsg_len;
};

/* Borrows all. */
void tokenizer_init(struct tokenizer *t, const char *text, size_t len, char *errmsg,
                    size_t errmsg_len);
void tokenizer_fini(struct tokenizer *t);

/* Reads the next line, n words (0: an empty one). False at the end, and after an error: *error. */
bool tokenizer_read(struct tokenizer *t, bool *error);

static inline const char *tokenizer_text(const struct token *token)
{
    return (const char *)token->bytes.data;
}

/* Writes "line N: …" into errmsg; returns false. */
BASE_PRINTF(2, 3) bool tokenizer_fail(struct tokenizer *t, const char *fmt, ...);

#endif
