/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <libsmartcols.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"

/* Gives. */
static char *cell_text(const json_t *value)
{
    json_int_t number = json_integer_value(value);

    if (json_is_string(value))
        return xstrdup(json_string_value(value));
    if (json_is_true(value) || json_is_false(value))
        return xstrdup(json_is_true(value) ? "yes" : "no");
    if (!json_is_integer(value) || number < 0)
        return xstrdup("-");
    return number == INT64_MAX ? xstrdup("eof") : xasprintf("%lld", (long long)number);
}

static struct libscols_table *new_table(const struct table_column *columns, size_t n)
{
    struct libscols_table *table = scols_new_table();

    check(table != NULL);
    /* Whole lines, also where the terminal is narrower: scripts cut them. */
    scols_table_set_termforce(table, SCOLS_TERMFORCE_NEVER);
    check(scols_table_set_column_separator(table, "  ") == 0);
    for (size_t i = 0; i < n; i++)
        check(scols_table_new_column(table, columns[i].title, 0,
                                     columns[i].right ? SCOLS_FL_RIGHT : 0) != NULL);
    return table;
}

void table_print(const struct table_column *columns, size_t n_columns, const json_t *rows)
{
    struct libscols_table *table;
    const json_t *row;
    size_t i;

    setlocale(LC_CTYPE, "C.UTF-8"); /* JSON is UTF-8, and columns are as wide as it is shown */
    table = new_table(columns, n_columns);
    json_array_foreach(rows, i, row)
    {
        struct libscols_line *line = scols_table_new_line(table, NULL);

        check(line != NULL);
        for (size_t c = 0; c < n_columns; c++)
            check(scols_line_refer_data(line, c, cell_text(json_object_get(row, columns[c].key))) ==
                  0);
    }
    check(scols_print_table(table) == 0);
    scols_unref_table(table);
}
