/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by all files of raft/tcp.h: the life of struct tcp, and addresses. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "raft/tcp_impl.h"

void tcp_unref(struct tcp *t)
{
    if (--t->refs > 0)
        return;
    free(t->cluster);
    free(t->address);
    free(t);
}

/* True if the text is a number of at most 65535 and nothing else. */
static bool is_port(const char *text)
{
    size_t len = strlen(text);

    return len >= 1 && len <= 5 && strspn(text, "0123456789") == len && atoi(text) <= 65535;
}

int tcp_parse(const char *address, char *host, size_t host_len, char *port, size_t port_len)
{
    const char *colon = strrchr(address, ':');
    size_t len;

    if (colon == NULL || !is_port(colon + 1) || strlen(colon + 1) >= port_len)
        return -EINVAL;
    len = (size_t)(colon - address);
    if (len >= 2 && address[0] == '[' && address[len - 1] == ']') {
        address++;
        len -= 2;
    } else if (memchr(address, ':', len) != NULL) {
        return -EINVAL; /* an IPv6 address without brackets */
    }
    if (len >= host_len)
        return -EINVAL;
    memcpy(host, address, len);
    host[len] = '\0';
    strcpy(port, colon + 1);
    return 0;
}
