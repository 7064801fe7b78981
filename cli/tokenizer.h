/* SPDX-License-Identifier: Apache-2.0 */
/* Splits lines into words (tokens), quoted as in a shell. In '…' everything is literal. In "…" and
 * outside quotes a backslash makes the next character literal; in "…", \n, \t, \0 and \xHH are
 * bytes. Quotes may span lines; adjacent pieces form one word. # begins a comment. If the last word
 * is <<END, the following lines up to a line END are the word, literally. */
#ifndef CLI_TOKENIZER_H
#define CLI_TOKENIZER_H

#include "base/buf.h"

#define TOKENIZER_MAX 32

struct token {
    struct buf bytes; /* any bytes; terminated by a NUL that is not counted */
    bool quoted;      /* at least in part */
};

struct tokenizer {
    struct token tokens[TOKENIZER_MAX]; /* of the last line read */
    unsigned n;
    unsigned line; /* its number, from 1 */

    const char *at, *end; /* the rest of the text */
    unsigned next_line;
    char *errmsg;
    size_t errmsg_len;
};

/* Borrows text and errmsg until tokenizer_fini. */
void tokenizer_init(struct tokenizer *t, const char *text, size_t len, char *errmsg,
                    size_t errmsg_len);
void tokenizer_fini(struct tokenizer *t);

/* Reads the next line into tokens and n (0: an empty line). False at the end of the text, and after
 * an error, which *error tells apart. */
bool tokenizer_read(struct tokenizer *t, bool *error);

static inline const char *tokenizer_text(const struct token *token)
{
    return (const char *)token->bytes.data;
}

/* Writes "line N: …" into errmsg; returns false. */
BASE_PRINTF(2, 3) bool tokenizer_fail(struct tokenizer *t, const char *fmt, ...);

#endif
