/* SPDX-License-Identifier: Apache-2.0 */
/* Tables for people, from lists of JSON objects. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <jansson.h>
#include <stdbool.h>

struct table_column {
    const char *title;
    const char *key; /* of the value in each row */
    bool right;      /* aligned to the right */
};

/* Prints a line of titles and one line for each object of the array `rows` to standard output. A
 * missing value and a negative number are "-"; INT64_MAX, the end of a lock's range, is "eof". */
void table_print(const struct table_column *columns, size_t n_columns, const json_t *rows);

#endif
