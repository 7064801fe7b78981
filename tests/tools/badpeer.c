/* SPDX-License-Identifier: Apache-2.0 */
/* A peer that sends nonsense.
 *
 *   badpeer HOST PORT SEED      connects many times and sends something else each time
 *
 * The member must close each such link, or ignore the bytes, and stay healthy; the caller checks
 * this. This program only checks that every link can still be opened and that nothing blocks: each
 * link gets SECONDS_EACH to accept the bytes. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/base.h"

#define SECONDS_EACH 2
#define ROUNDS       40
#define BIG          (6u << 20) /* larger than any valid frame */

static uint64_t seed;

static uint64_t chance(void)
{
    seed += 0x9e3779b97f4a7c15u;
    return XXH3_64bits(&seed, sizeof seed);
}

static int dial(const char *host, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval limit = {.tv_sec = SECONDS_EACH};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        die("bad address %s", host);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("connect to %s:%d: %s", host, port, strerror(errno));
    return fd;
}

/* Sends as much as the other side accepts. */
static void say(int fd, const void *data, size_t len)
{
    const char *at = data;

    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        at += n;
        len -= (size_t)n;
    }
}

static void random_bytes(int fd)
{
    static unsigned char data[BIG];
    size_t len = chance() % 3 == 0 ? BIG : chance() % 5000;

    for (size_t i = 0; i + 8 <= len; i += 8) {
        uint64_t word = chance();

        memcpy(data + i, &word, 8);
    }
    say(fd, data, len);
}

/* Sends an invalid length, in either byte order and of 2, 4 or 8 bytes. */
static void huge_length(int fd)
{
    static const unsigned char lengths[][8] = {
        {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
        {0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0},
        {0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0},
        {0, 0, 0x50, 0, 0, 0, 0, 0},
        {0, 0x50, 0, 0, 0, 0, 0, 0},
        {0, 0, 0, 0, 0, 0, 0, 0x80},
    };
    static const char zeros[BIG];

    say(fd, lengths[chance() % ARRAY_LEN(lengths)], 8);
    say(fd, zeros, sizeof zeros);
}

/* Sends what a browser, a shell or a scanner would send. */
static void other_protocol(int fd)
{
    static const char *const words[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "\n\n\n\n",
        "*1\r\n$4\r\nPING\r\n",
    };
    const char *text = words[chance() % ARRAY_LEN(words)];

    say(fd, text, strlen(text));
}

/* Sends short frames of plausible length (both byte orders) with nonsense in them. */
static void small_frames(int fd)
{
    unsigned char frame[64];

    for (int i = 0; i < 20; i++) {
        unsigned len = (unsigned)(chance() % 60);
        bool big_endian = chance() % 2;
        uint64_t word = chance();

        memset(frame, (int)(word & 0xff), sizeof frame);
        memset(frame, 0, 4);
        frame[big_endian ? 3 : 0] = (unsigned char)len;
        say(fd, frame, len + 4);
    }
}

static void nothing(int fd BASE_UNUSED)
{
}

static void half_a_length(int fd)
{
    say(fd, "\x10\x00", 2);
}

int main(int argc, char **argv)
{
    static void (*const kinds[])(int fd) = {random_bytes, huge_length, other_protocol,
                                            small_frames, nothing,     half_a_length};
    char answer[256];

    if (argc != 4) {
        fprintf(stderr, "usage: badpeer HOST PORT SEED\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    seed = strtoull(argv[3], NULL, 10);
    printf("seed %s\n", argv[3]);
    for (unsigned i = 0; i < ROUNDS; i++) {
        int fd = dial(argv[1], atoi(argv[2]));

        kinds[i % ARRAY_LEN(kinds)](fd);
        if (chance() % 2)
            shutdown(fd, SHUT_WR);
        if (chance() % 2 && recv(fd, answer, sizeof answer, MSG_DONTWAIT) < 0 && errno == EBADF)
            return 1;
        close(fd);
    }
    return 0;
}
