/* SPDX-License-Identifier: Apache-2.0 */
/* Links on loopback: several ends in one process on one loop, and misbehaving raw sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "proto/link.pb-c.h"
#include "raft/frame.h"
#include "raft/tcp.h"
#include "tests/lib/own_host.h"

#define PATIENCE 8000 /* ms: reached only if a test fails */

/* ---- Ends ------------------------------------------------------------------------------------ */

struct end {
    struct tcp *tcp;
    uint64_t id;
    unsigned port;
    int ups[8], downs[8]; /* by peer */
    uint64_t received[8];
    uint64_t next[8]; /* the expected number of the next message */
    bool ordered;     /* messages are numbered: check */
    bool refuse;      /* on_message rejects every message */
    bool in_send;
};

static uv_loop_t loop;

static void on_link(void *ctx, uint64_t peer, bool up)
{
    struct end *e = ctx;

    assert_true(peer < 8);
    assert_false(e->in_send);
    if (up)
        e->ups[peer]++;
    else
        e->downs[peer]++;
    assert_int_equal(tcp_linked(e->tcp, peer), up);
    assert_int_equal(e->ups[peer] - e->downs[peer], up); /* they alternate */
    e->next[peer] = 0;
}

static bool on_message(void *ctx, uint64_t peer, const uint8_t *data, size_t len)
{
    struct end *e = ctx;
    uint64_t number;

    assert_false(e->in_send);
    assert_int_equal(e->ups[peer] - e->downs[peer], 1);
    e->received[peer]++;
    if (e->refuse)
        return false;
    if (!e->ordered)
        return true;
    assert_true(len >= sizeof number);
    memcpy(&number, data, sizeof number);
    assert_int_equal(number, e->next[peer]);
    e->next[peer]++;
    for (size_t i = sizeof number; i < len; i++)
        if (data[i] != (uint8_t)(number + i))
            fail_msg("byte %zu of message %llu", i, (unsigned long long)number);
    return true;
}

static struct tcp_config defaults = {.cluster = "test"}; /* listens on any port */

static void start_with(struct end *e, uint64_t id, struct tcp_config config)
{
    struct tcp_env env = {e, on_link, on_message};
    char errmsg[200] = "";

    memset(e, 0, sizeof *e);
    e->id = id;
    config.id = id;
    if (tcp_start(&loop, &config, &env, &e->tcp, errmsg, sizeof errmsg) != 0)
        fail_msg("%s", errmsg);
    e->port = tcp_port(e->tcp);
}

static void start(struct end *e, uint64_t id)
{
    start_with(e, id, defaults);
}

/* Tells e the other members, by id and port. */
static void knows(struct end *e, unsigned n, ...)
{
    struct driver_member members[8] = {{0}};
    char addresses[8][32];
    va_list args;

    va_start(args, n);
    for (unsigned i = 0; i < n; i++) {
        members[i].id = va_arg(args, unsigned);
        snprintf(addresses[i], sizeof addresses[i], "%s:%u", own_host(), va_arg(args, unsigned));
        members[i].address = addresses[i];
    }
    va_end(args);
    tcp_members(e->tcp, members, n);
}

static void knows_each_other(struct end *a, struct end *b)
{
    knows(a, 1, (unsigned)b->id, b->port);
    knows(b, 1, (unsigned)a->id, a->port);
}

static void on_poke(uv_timer_t *timer BASE_UNUSED)
{
}

static uv_timer_t poke; /* the loop never sleeps longer than this */

/* Runs the loop until the condition holds. */
#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        uint64_t end_ = uv_hrtime() + PATIENCE * 1000000ull;                                       \
        while (!(condition)) {                                                                     \
            if (uv_hrtime() > end_)                                                                \
                fail_msg("timed out waiting for: %s", #condition);                                 \
            uv_run(&loop, UV_RUN_ONCE);                                                            \
        }                                                                                          \
    } while (0)

static void run_for(unsigned ms)
{
    uint64_t end = uv_hrtime() + ms * 1000000ull;

    while (uv_hrtime() < end)
        uv_run(&loop, UV_RUN_ONCE);
}

static int setup(void **state BASE_UNUSED)
{
    check(uv_loop_init(&loop) == 0);
    check(uv_timer_init(&loop, &poke) == 0);
    check(uv_timer_start(&poke, on_poke, 5, 5) == 0);
    return 0;
}

/* No handle and no request may be left. After a failed test some are, and they would call back into
 * a stack that no longer exists, so no other test can run. */
static int teardown(void **state BASE_UNUSED)
{
    uint64_t end = uv_hrtime() + PATIENCE * 1000000ull;
    int alive = 1;

    uv_close((uv_handle_t *)&poke, NULL);
    while (alive && uv_hrtime() < end) {
        alive = uv_run(&loop, UV_RUN_NOWAIT);
        usleep(200);
    }
    if (uv_loop_close(&loop) != 0)
        die("a test has left a handle open: the remaining tests are not run");
    return 0;
}

static void send_number(struct end *e, uint64_t to, uint64_t number, size_t len)
{
    struct buf b = BUF_EMPTY;

    if (len < sizeof number)
        len = sizeof number;
    buf_append(&b, &number, sizeof number);
    buf_reserve(&b, len);
    for (; b.len < len; b.len++)
        b.data[b.len] = (uint8_t)(number + b.len);
    e->in_send = true;
    tcp_send(e->tcp, to, &b);
    e->in_send = false;
    assert_null(b.data);
}

/* ---- Raw sockets ----------------------------------------------------------------------------- */

static int raw_connect(const struct end *e)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)e->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int err;

    assert_true(fd >= 0);
    address.sin_addr.s_addr = own_host_net();
    err = connect(fd, (struct sockaddr *)&address, sizeof address);
    assert_true(err == 0 || errno == EINPROGRESS);
    return fd;
}

static void raw_write(int fd, const void *data, size_t len)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    assert_int_equal(poll(&p, 1, PATIENCE), 1);
    assert_int_equal(write(fd, data, len), len);
}

static void raw_frame(int fd, const void *payload, size_t len)
{
    uint8_t header[FRAME_HEADER];

    frame_header(header, payload, len);
    raw_write(fd, header, sizeof header);
    raw_write(fd, payload, len);
}

static void raw_hello(int fd, unsigned version, const char *cluster, uint64_t from, uint64_t to)
{
    Cfs__Hello hello;
    uint8_t bytes[4096];
    char name[1000];

    cfs__hello__init(&hello);
    hello.version = version;
    snprintf(name, sizeof name, "%s", cluster);
    hello.cluster = name;
    hello.from = from;
    hello.to = to;
    raw_frame(fd, bytes, cfs__hello__pack(&hello, bytes));
}

/* True if the other side has closed the socket. Discards the bytes before the end. */
static bool raw_closed(int fd)
{
    char bytes[4096];
    ssize_t n;

    while ((n = read(fd, bytes, sizeof bytes)) > 0)
        continue;
    return n == 0 || (errno != EAGAIN && errno != EINPROGRESS && errno != ENOTCONN);
}

/* ---- Addresses ------------------------------------------------------------------------------- */

static void test_parse(void **state BASE_UNUSED)
{
    static const struct {
        const char *address;
        int err;
        const char *host, *port;
    } cases[] = {
        {"host:1", 0, "host", "1"},
        {"10.0.0.1:65535", 0, "10.0.0.1", "65535"},
        {"[::1]:7000", 0, "::1", "7000"},
        {":7000", 0, "", "7000"},
        {"a.b.example:0", 0, "a.b.example", "0"},
        {"host", -EINVAL, "", ""},
        {"host:", -EINVAL, "", ""},
        {"", -EINVAL, "", ""},
        {":", -EINVAL, "", ""},
        {"::1:7000", -EINVAL, "", ""},
        {"host:65536", -EINVAL, "", ""},
        {"host:-1", -EINVAL, "", ""},
        {"host: 1", -EINVAL, "", ""},
        {"host:1x", -EINVAL, "", ""},
        {"host:000001", -EINVAL, "", ""},
        {"[::1:7000", -EINVAL, "", ""},
        {"averyveryverylonghostname:1", -EINVAL, "", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char host[16], port[6];
        int err = tcp_parse(cases[i].address, host, sizeof host, port, sizeof port);

        if (err != cases[i].err)
            fail_msg("%s: %d", cases[i].address, err);
        if (err != 0)
            continue;
        assert_string_equal(host, cases[i].host);
        assert_string_equal(port, cases[i].port);
    }
}

static void test_cannot_listen(void **state BASE_UNUSED)
{
    struct tcp_config config = defaults;
    struct tcp_env env = {0};
    struct tcp *t;
    struct end a;
    char errmsg[200] = "", listen[40];

    config.id = 1;
    config.listen = "no port";
    assert_int_equal(tcp_start(&loop, &config, &env, &t, errmsg, sizeof errmsg), -EINVAL);
    assert_non_null(strstr(errmsg, "no port"));
    config.listen = "192.0.2.1:7000"; /* not an address of this host */
    assert_int_equal(tcp_start(&loop, &config, &env, &t, errmsg, sizeof errmsg), -EADDRNOTAVAIL);
    start(&a, 1);
    snprintf(listen, sizeof listen, "%s:%u", own_host(), a.port);
    config.listen = listen;
    assert_int_equal(tcp_start(&loop, &config, &env, &t, errmsg, sizeof errmsg), -EADDRINUSE);
    tcp_stop(a.tcp);
}

/* ---- Links ----------------------------------------------------------------------------------- */

static void test_up(void **state BASE_UNUSED)
{
    struct end a, b;

    start(&a, 1);
    start(&b, 2);
    assert_false(tcp_linked(a.tcp, 2));
    knows_each_other(&a, &b);
    WAIT_FOR(tcp_linked(a.tcp, 2) && tcp_linked(b.tcp, 1));
    run_for(300);
    assert_int_equal(a.ups[2] + b.ups[1], 2);
    assert_int_equal(a.downs[2] + b.downs[1], 0);
    tcp_stop(a.tcp);
    WAIT_FOR(b.downs[1] == 1);
    tcp_stop(b.tcp);
}

static void test_one_side_knows(void **state BASE_UNUSED)
{
    for (int lower = 0; lower < 2; lower++) {
        struct end a, b;

        start(&a, lower ? 1 : 2);
        start(&b, lower ? 2 : 1);
        knows(&a, 1, (unsigned)b.id, b.port);
        WAIT_FOR(tcp_linked(a.tcp, b.id) && tcp_linked(b.tcp, a.id));
        send_number(&b, a.id, 0, 8); /* a guest's link carries messages too */
        tcp_flush(b.tcp);
        WAIT_FOR(a.received[b.id] == 1);
        tcp_stop(a.tcp);
        WAIT_FOR(!tcp_linked(b.tcp, a.id));
        tcp_stop(b.tcp);
    }
}

/* Both call at the same moment, repeatedly: exactly one link results, and it stays. */
static void test_calls_that_cross(void **state BASE_UNUSED)
{
    for (int run = 0; run < 30; run++) {
        struct end a, b;

        start(&a, 1);
        start(&b, 2);
        knows(&b, 1, 1u, a.port);
        run_for(100 + (unsigned)run % 4); /* b waits 100 ms before it calls */
        knows(&a, 1, 2u, b.port);
        WAIT_FOR(tcp_linked(a.tcp, 2) && tcp_linked(b.tcp, 1));
        a.ordered = b.ordered = true;
        send_number(&a, 2, 0, 100);
        send_number(&b, 1, 0, 100);
        tcp_flush(a.tcp);
        tcp_flush(b.tcp);
        WAIT_FOR(a.received[2] + b.received[1] == 2);
        assert_true(a.ups[2] <= 2 && b.ups[1] <= 2);
        tcp_stop(a.tcp);
        tcp_stop(b.tcp);
    }
}

static void test_three(void **state BASE_UNUSED)
{
    struct end e[4];

    for (unsigned i = 1; i <= 3; i++)
        start(&e[i], i);
    for (unsigned i = 1; i <= 3; i++)
        knows(&e[i], 3, 1u, e[1].port, 2u, e[2].port, 3u,
              e[3].port); /* the list includes the member itself */
    for (unsigned i = 1; i <= 3; i++)
        for (unsigned j = 1; j <= 3; j++)
            WAIT_FOR(i == j || tcp_linked(e[i].tcp, j));
    assert_false(tcp_linked(e[1].tcp, 1));
    for (unsigned i = 1; i <= 3; i++)
        tcp_stop(e[i].tcp);
}

static void test_messages_in_order(void **state BASE_UNUSED)
{
    enum { N = 10000 };
    struct end a, b;

    start(&a, 1);
    start(&b, 2);
    a.ordered = b.ordered = true;
    knows_each_other(&a, &b);
    WAIT_FOR(tcp_linked(a.tcp, 2) && tcp_linked(b.tcp, 1));
    for (uint64_t i = 0; i < N; i++) {
        send_number(&a, 2, i, i % 1000 == 999 ? 1u << 20 : i * 7919 % 2000);
        send_number(&b, 1, i, i * 104729 % 300);
        if (i % 37 == 0) {
            tcp_flush(a.tcp);
            tcp_flush(b.tcp);
            uv_run(&loop, UV_RUN_NOWAIT);
        }
    }
    tcp_flush(a.tcp);
    tcp_flush(b.tcp);
    WAIT_FOR(b.received[1] == N && a.received[2] == N);
    assert_int_equal(tcp_queued(a.tcp, 2), 0);
    assert_int_equal(a.downs[2] + b.downs[1], 0);
    tcp_stop(a.tcp);
    tcp_stop(b.tcp);
}

static void test_largest_message(void **state BASE_UNUSED)
{
    struct end a, b;

    start(&a, 1);
    start(&b, 2);
    b.ordered = true;
    knows_each_other(&a, &b);
    WAIT_FOR(tcp_linked(a.tcp, 2) && tcp_linked(b.tcp, 1));
    for (uint64_t i = 0; i < 4; i++)
        send_number(&a, 2, i, FRAME_MAX);
    tcp_flush(a.tcp);
    WAIT_FOR(b.received[1] == 4);
    tcp_stop(a.tcp);
    tcp_stop(b.tcp);
}

static void test_leaves_with_the_flush(void **state BASE_UNUSED)
{
    struct end a, b;

    start(&a, 1);
    start(&b, 2);
    b.ordered = true;
    knows_each_other(&a, &b);
    WAIT_FOR(tcp_linked(a.tcp, 2) && tcp_linked(b.tcp, 1));
    for (uint64_t i = 0; i < 10; i++)
        send_number(&a, 2, i, 100);
    assert_int_equal(tcp_queued(a.tcp, 2), 10 * 108);
    run_for(50);
    assert_int_equal(b.received[1], 0);
    tcp_flush(a.tcp);
    WAIT_FOR(b.received[1] == 10);
    tcp_stop(a.tcp);
    tcp_stop(b.tcp);
}

static void test_no_link_no_message(void **state BASE_UNUSED)
{
    struct end a;

    start(&a, 1);
    send_number(&a, 2, 0, 100); /* no link: dropped */
    assert_int_equal(tcp_queued(a.tcp, 2), 0);
    tcp_flush(a.tcp);
    tcp_stop(a.tcp);
}

/* An end stops and restarts: no message of the old stream arrives in the new one. */
static void test_reconnects(void **state BASE_UNUSED)
{
    struct tcp_config config = defaults;
    struct end a, b;
    char listen[40];

    start(&a, 1);
    start(&b, 2);
    snprintf(listen, sizeof listen, "%s:%u", own_host(), b.port);
    config.listen = listen;
    knows_each_other(&a, &b);
    for (int run = 0; run < 10; run++) {
        WAIT_FOR(tcp_linked(a.tcp, 2) && tcp_linked(b.tcp, 1));
        b.ordered = true;
        for (uint64_t i = 0; i < 500; i++)
            send_number(&a, 2, i, 3000);
        tcp_flush(a.tcp);
        for (int turns = 0; turns < run; turns++)
            uv_run(&loop, UV_RUN_ONCE);
        tcp_stop(b.tcp);
        if (run % 2 == 0)
            WAIT_FOR(!tcp_linked(a.tcp, 2)); /* otherwise it could be back before `a` notices */
        start_with(&b, 2, config);
        knows(&b, 1, 1u, a.port);
    }
    WAIT_FOR(tcp_linked(a.tcp, 2) && tcp_linked(b.tcp, 1) && a.ups[2] >= 11);
    tcp_stop(a.tcp);
    tcp_stop(b.tcp);
}

typedef int (*getaddrinfo_f)(const char *, const char *, const struct addrinfo *,
                             struct addrinfo **);

/* Replaces glibc's function for libuv's thread: the names do not depend on /etc/hosts or on name
 * servers. "two.test" has the addresses ::1, where no process listens, and 127.0.0.1;
 * "nobody.invalid" takes a while and does not exist. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    getaddrinfo_f real = (getaddrinfo_f)dlsym(RTLD_NEXT, "getaddrinfo");
    struct addrinfo numeric = *hints;
    int err;

    if (node != NULL && strcmp(node, "nobody.invalid") == 0) {
        usleep(200 * 1000);
        return EAI_NONAME;
    }
    if (node == NULL || strcmp(node, "two.test") != 0)
        return real(node, service, hints, found);
    numeric.ai_flags = AI_NUMERICHOST;
    err = real("::1", service, &numeric, found);
    return err != 0 ? err : real("127.0.0.1", service, &numeric, &(*found)->ai_next);
}

static void test_by_name(void **state BASE_UNUSED)
{
    struct driver_member members[3] = {{.id = 2}, {.id = 3}, {.id = 4}};
    char address[40], nobody[] = "nobody.invalid:7000", wrong[] = "no address";
    struct tcp_config config = defaults;
    struct end a, b;

    config.listen = "127.0.0.1:0";
    start(&a, 1);
    start_with(&b, 2, config);
    snprintf(address, sizeof address, "two.test:%u", b.port);
    members[0].address = address;
    members[1].address = nobody;
    members[2].address = wrong;
    tcp_members(a.tcp, members, 3);
    WAIT_FOR(tcp_linked(a.tcp, 2)); /* by its second address */
    tcp_stop(a.tcp);
    tcp_stop(b.tcp);
}

static void test_stop_while_resolving(void **state BASE_UNUSED)
{
    struct driver_member member = {.id = 2};
    char address[] = "nobody.invalid:7000";
    struct end a;

    start(&a, 1);
    member.address = address;
    tcp_members(a.tcp, &member, 1);
    uv_run(&loop, UV_RUN_ONCE);
    uv_run(&loop, UV_RUN_ONCE);
    tcp_members(a.tcp, NULL, 0);
    tcp_stop(a.tcp);
}

static void test_no_member_any_more(void **state BASE_UNUSED)
{
    struct end a, b;

    start(&a, 1);
    start(&b, 2);
    knows_each_other(&a, &b);
    WAIT_FOR(tcp_linked(a.tcp, 2) && tcp_linked(b.tcp, 1));
    tcp_members(a.tcp, NULL, 0);
    run_for(30);
    assert_true(tcp_linked(a.tcp, 2)); /* a removed member may still need messages */
    tcp_stop(b.tcp);
    WAIT_FOR(a.downs[2] == 1);
    run_for(50);
    knows(&a, 1, 2u, b.port); /* a second time */
    run_for(20);
    tcp_members(a.tcp, NULL, 0); /* in the middle of a call */
    run_for(20);
    tcp_stop(a.tcp);
}

/* ---- Strangers ------------------------------------------------------------------------------- */

static void test_another_cluster(void **state BASE_UNUSED)
{
    struct tcp_config config = defaults;
    struct end a, b;

    config.cluster = "another";
    start(&a, 1);
    start_with(&b, 2, config);
    knows_each_other(&a, &b);
    run_for(400);
    assert_int_equal(a.ups[2] + b.ups[1], 0);
    tcp_stop(a.tcp);
    tcp_stop(b.tcp);
}

static void test_another_member_than_called(void **state BASE_UNUSED)
{
    struct end a, b;

    start(&a, 1);
    start(&b, 3);
    knows(&a, 1, 2u, b.port); /* at the address of 3, `a` expects 2 */
    run_for(200);
    assert_int_equal(a.ups[2] + a.ups[3] + b.ups[1], 0);
    knows(&b, 1, 4u, b.port); /* its own address, with another id */
    run_for(200);
    assert_int_equal(b.ups[4] + b.ups[3], 0);
    tcp_stop(a.tcp);
    tcp_stop(b.tcp);
}

static void test_wrong_hellos(void **state BASE_UNUSED)
{
    static const struct {
        unsigned version;
        const char *cluster;
        uint64_t from, to;
    } cases[] = {
        {TCP_VERSION + 1, "test", 5, 1}, {0, "test", 5, 1},           {TCP_VERSION, "tes", 5, 1},
        {TCP_VERSION, "", 5, 1},         {TCP_VERSION, "test", 5, 2}, {TCP_VERSION, "test", 5, 0},
        {TCP_VERSION, "test", 1, 1},     {TCP_VERSION, "test", 0, 1},
    };
    struct end a, b;

    start(&a, 1);
    start(&b, 2);
    knows_each_other(&a, &b);
    WAIT_FOR(tcp_linked(a.tcp, 2) && tcp_linked(b.tcp, 1));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int fd = raw_connect(&a);

        raw_hello(fd, cases[i].version, cases[i].cluster, cases[i].from, cases[i].to);
        WAIT_FOR(raw_closed(fd));
        close(fd);
    }
    assert_int_equal(a.ups[5] + a.ups[1] + a.ups[0], 0);
    assert_int_equal(a.downs[2], 0); /* the good link is unharmed */
    assert_int_equal(tcp_strangers(a.tcp), 0);
    tcp_stop(a.tcp);
    tcp_stop(b.tcp);
}

static void test_garbage(void **state BASE_UNUSED)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: example\r\n\r\n";
    uint8_t big[TCP_HELLO_MAX + 1] = {0}, bytes[600];
    uint64_t seed = (uint64_t)getpid() * 2654435761u + 1;
    struct end a, b;
    int fd;

    printf("seed %llu\n", (unsigned long long)seed);
    start(&a, 1);
    start(&b, 2);
    knows_each_other(&a, &b);
    WAIT_FOR(tcp_linked(a.tcp, 2) && tcp_linked(b.tcp, 1));

    fd = raw_connect(&a); /* a frame too long for a Hello */
    raw_frame(fd, big, sizeof big);
    WAIT_FOR(raw_closed(fd));
    close(fd);
    fd = raw_connect(&a); /* no Hello */
    raw_frame(fd, "x", 1);
    WAIT_FOR(raw_closed(fd));
    close(fd);
    fd = raw_connect(&a);
    raw_write(fd, http, sizeof http);
    WAIT_FOR(raw_closed(fd));
    close(fd);
    fd = raw_connect(&a); /* the wrong checksum */
    raw_write(fd, "\x01\0\0\0\0\0\0\0x", 9);
    WAIT_FOR(raw_closed(fd));
    close(fd);
    fd = raw_connect(&a); /* closes in the middle of a frame */
    raw_write(fd, "\x10\0\0\0", 4);
    run_for(10);
    close(fd);
    for (int run = 0; run < 100; run++) {
        fd = raw_connect(&a);
        for (size_t i = 0; i < sizeof bytes; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            bytes[i] = (uint8_t)(seed >> 56);
        }
        if (run % 2 == 0) {
            raw_frame(fd, bytes, sizeof bytes); /* a good frame with garbage in it */
            WAIT_FOR(raw_closed(fd));
        } else {
            raw_write(fd, bytes, sizeof bytes);
            run_for(1);
        }
        close(fd);
    }
    WAIT_FOR(tcp_strangers(a.tcp) == 0);
    assert_int_equal(a.downs[2] + b.downs[1], 0);
    tcp_stop(a.tcp);
    tcp_stop(b.tcp);
}

static void test_strangers_are_few_and_short(void **state BASE_UNUSED)
{
    struct tcp_config config = defaults;
    struct end a, b;
    int fds[100];

    config.handshake_ms = 300;
    start_with(&a, 1, config);
    start(&b, 2);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = raw_connect(&a);
        uv_run(&loop, UV_RUN_NOWAIT);
        assert_true(tcp_strangers(a.tcp) <= TCP_STRANGERS);
    }
    WAIT_FOR(tcp_strangers(a.tcp) == TCP_STRANGERS);
    knows(&b, 1, 1u, a.port); /* a member that sends a Hello is still accepted */
    WAIT_FOR(tcp_linked(b.tcp, 1));
    WAIT_FOR(tcp_strangers(a.tcp) == 0);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        assert_true(raw_closed(fds[i]));
        close(fds[i]);
    }
    assert_true(tcp_linked(a.tcp, 2));
    tcp_stop(a.tcp);
    tcp_stop(b.tcp);
}

/* Makes a listening socket and stores its port. */
static int raw_listen(unsigned *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    address.sin_addr.s_addr = own_host_net();
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 10), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

/* A member listens but never answers. */
static void test_no_answer(void **state BASE_UNUSED)
{
    struct tcp_config config = defaults;
    struct end a, b;
    unsigned port;
    int fd = raw_listen(&port);

    config.handshake_ms = 100;
    start_with(&a, 1, config);
    knows(&a, 1, 2u, port);
    run_for(350);
    assert_int_equal(a.ups[2], 0);
    start(&b, 2); /* 2 has moved */
    knows(&a, 1, 2u, b.port);
    WAIT_FOR(tcp_linked(a.tcp, 2));
    close(fd);
    tcp_stop(a.tcp);
    tcp_stop(b.tcp);
}

/* The answer comes from another member than the called one, or from no member. */
static void test_wrong_answers(void **state BASE_UNUSED)
{
    static const struct {
        unsigned version;
        const char *cluster;
        uint64_t from, to;
        bool good;
    } cases[] = {
        {TCP_VERSION, "test", 3, 1, false},     {TCP_VERSION, "test", 2, 3, false},
        {TCP_VERSION, "test", 1, 1, false},     {TCP_VERSION, "another", 2, 1, false},
        {TCP_VERSION + 1, "test", 2, 1, false}, {TCP_VERSION, "test", 2, 1, true},
    };
    struct end a;
    unsigned port;
    int fd = raw_listen(&port), peer;

    start(&a, 1);
    knows(&a, 1, 2u, port);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        WAIT_FOR((peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK)) >= 0);
        raw_hello(peer, cases[i].version, cases[i].cluster, cases[i].from, cases[i].to);
        WAIT_FOR(cases[i].good ? tcp_linked(a.tcp, 2) : raw_closed(peer));
        close(peer);
    }
    assert_int_equal(a.ups[2], 1);
    assert_int_equal(a.ups[1] + a.ups[3], 0);
    WAIT_FOR(a.downs[2] == 1);
    close(fd);
    tcp_stop(a.tcp);
}

static void test_nonsense_after_the_greeting(void **state BASE_UNUSED)
{
    struct end a;
    int fd;

    start(&a, 1);
    fd = raw_connect(&a);
    raw_hello(fd, TCP_VERSION, "test", 5, 1);
    WAIT_FOR(a.ups[5] == 1);
    raw_frame(fd, "fine", 4);
    WAIT_FOR(a.received[5] == 1);
    a.refuse = true;
    raw_frame(fd, "not so fine", 11);
    raw_frame(fd, "never seen", 10);
    WAIT_FOR(a.downs[5] == 1);
    assert_int_equal(a.received[5], 2);
    WAIT_FOR(raw_closed(fd));
    close(fd);
    a.refuse = false;

    fd = raw_connect(&a);
    raw_hello(fd, TCP_VERSION, "test", 5, 1);
    WAIT_FOR(a.ups[5] == 2);
    raw_write(fd, "\xff\xff\xff\xff\0\0\0\0", 8); /* 4 GiB announced */
    WAIT_FOR(a.downs[5] == 2);
    close(fd);
    tcp_stop(a.tcp);
}

/* A host was switched off and starts again: its old link still seems to be up. */
static void test_new_call_replaces_the_old_link(void **state BASE_UNUSED)
{
    struct end a;
    int old, new;

    start(&a, 1);
    old = raw_connect(&a);
    raw_hello(old, TCP_VERSION, "test", 5, 1);
    WAIT_FOR(a.ups[5] == 1);
    new = raw_connect(&a);
    raw_hello(new, TCP_VERSION, "test", 5, 1);
    WAIT_FOR(a.ups[5] == 2);
    assert_int_equal(a.downs[5], 1);
    WAIT_FOR(raw_closed(old));
    assert_false(raw_closed(new));
    raw_frame(new, "x", 1);
    WAIT_FOR(a.received[5] == 1);
    close(old);
    close(new);
    WAIT_FOR(a.downs[5] == 2);
    tcp_stop(a.tcp);
}

/* A member sends its Hello and then does not read: the queue to it is bounded. */
static void test_slow_reader(void **state BASE_UNUSED)
{
    struct tcp_config config = defaults;
    struct end a;
    size_t most = 0;
    uint64_t sent = 0;
    int fd;

    config.queue_max = 3u << 20;
    start_with(&a, 1, config);
    fd = raw_connect(&a);
    raw_hello(fd, TCP_VERSION, "test", 5, 1);
    WAIT_FOR(a.ups[5] == 1);
    while (tcp_linked(a.tcp, 5)) {
        send_number(&a, 5, sent++, 100000);
        tcp_flush(a.tcp);
        if (tcp_queued(a.tcp, 5) > most)
            most = tcp_queued(a.tcp, 5);
        uv_run(&loop, UV_RUN_NOWAIT);
        assert_true(sent < 10000); /* 1 GB: more than the kernel's buffers */
    }
    assert_true(most <= config.queue_max && most > config.queue_max / 2);
    WAIT_FOR(a.downs[5] == 1);
    send_number(&a, 5, 0, 100); /* no such peer */
    close(fd);
    tcp_stop(a.tcp);
}

/* ---- Log lines ------------------------------------------------------------------------------- */

static void test_complains_once(void **state BASE_UNUSED)
{
    char path[] = "/tmp/test_tcp.XXXXXX", text[20000];
    int file = mkstemp(path), saved = dup(STDERR_FILENO);
    const char *first;
    struct end a;
    ssize_t len;

    assert_true(file >= 0 && saved >= 0);
    unlink(path);
    start(&a, 1);
    fflush(stderr);
    log_set_level(LOG_LEVEL_WARN);
    dup2(file, STDERR_FILENO);
    for (int i = 0; i < 20; i++) {
        int fd = raw_connect(&a);

        raw_hello(fd, TCP_VERSION, "another", 5, 1);
        WAIT_FOR(raw_closed(fd));
        close(fd);
    }
    dup2(saved, STDERR_FILENO);
    log_set_level(LOG_LEVEL_ERROR);
    len = pread(file, text, sizeof text - 1, 0);
    assert_true(len > 0);
    text[len] = '\0';
    first = strstr(text, "another cluster");
    assert_non_null(first);
    assert_null(strstr(first + 1, "another cluster"));
    close(file);
    close(saved);
    tcp_stop(a.tcp);
}

/* ---- The codec (for TLS) --------------------------------------------------------------------- */

/* A codec that makes the same demands on the link as TLS: it first exchanges bytes of its own,
 * keeps the bytes that are sent before that is done, and cuts the stream at other places than
 * frames. */
struct toy {
    bool dialled, greeted;
    uint8_t key;
    struct buf kept;
};

static unsigned toys;

static void *toy_open(void *ctx BASE_UNUSED, bool dialled)
{
    struct toy *t = xcalloc(1, sizeof *t);

    t->dialled = dialled;
    toys++;
    return t;
}

static void toy_scramble(struct toy *t, const uint8_t *data, size_t len, struct buf *wire)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = data[i] ^ t->key;

        buf_append(wire, &byte, 1);
    }
}

static int toy_encode(void *codec, const uint8_t *data, size_t len, struct buf *wire)
{
    struct toy *t = codec;

    if (t->greeted) {
        toy_scramble(t, data, len, wire);
        return 0;
    }
    if (t->dialled && t->kept.len == 0)
        buf_append(wire, "C", 1);
    buf_append(&t->kept, data, len);
    return 0;
}

static int toy_decode(void *codec, const uint8_t *data, size_t len, struct buf *plain,
                      struct buf *wire)
{
    struct toy *t = codec;

    if (!t->greeted) { /* C and S are the handshake */
        if (data[0] != (t->dialled ? 'S' : 'C'))
            return -EPROTO;
        if (!t->dialled)
            buf_append(wire, "S", 1);
        t->greeted = true;
        t->key = 0x5a;
        toy_scramble(t, t->kept.data, t->kept.len, wire);
        data++;
        len--;
    }
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = data[i] ^ t->key;

        buf_append(plain, &byte, 1);
    }
    return 0;
}

static bool toy_vouches(void *codec BASE_UNUSED, uint64_t id)
{
    return id != 3;
}

static void toy_close(void *codec)
{
    struct toy *t = codec;

    buf_fini(&t->kept);
    free(t);
    toys--;
}

static const struct link_codec_ops toy_ops = {toy_open, toy_decode, toy_encode, toy_vouches,
                                              toy_close};

static void test_codec(void **state BASE_UNUSED)
{
    struct tcp_config config = defaults;
    struct end a, b, c;
    int fd;

    config.codec = (struct link_codec){NULL, &toy_ops};
    start_with(&a, 1, config);
    start_with(&b, 2, config);
    start_with(&c, 3, config);
    a.ordered = b.ordered = true;
    knows(&a, 2, 2u, b.port, 3u, c.port);
    knows(&b, 1, 1u, a.port);
    WAIT_FOR(tcp_linked(a.tcp, 2) && tcp_linked(b.tcp, 1));
    for (uint64_t i = 0; i < 300; i++) {
        send_number(&a, 2, i, i * 31 % 5000);
        send_number(&b, 1, i, i * 37 % 5000);
    }
    tcp_flush(a.tcp);
    tcp_flush(b.tcp);
    WAIT_FOR(a.received[2] == 300 && b.received[1] == 300);
    assert_int_equal(a.ups[3], 0); /* 3 has no proof of its id */
    fd = raw_connect(&a);
    raw_hello(fd, TCP_VERSION, "test", 5, 1); /* plain bytes */
    WAIT_FOR(raw_closed(fd));
    close(fd);
    tcp_stop(a.tcp);
    tcp_stop(b.tcp);
    tcp_stop(c.tcp);
    uv_run(&loop, UV_RUN_NOWAIT);
    WAIT_FOR(toys == 0);
}

#define LINK_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        LINK_TEST(test_cannot_listen),
        LINK_TEST(test_up),
        LINK_TEST(test_one_side_knows),
        LINK_TEST(test_calls_that_cross),
        LINK_TEST(test_three),
        LINK_TEST(test_messages_in_order),
        LINK_TEST(test_largest_message),
        LINK_TEST(test_leaves_with_the_flush),
        LINK_TEST(test_no_link_no_message),
        LINK_TEST(test_reconnects),
        LINK_TEST(test_by_name),
        LINK_TEST(test_stop_while_resolving),
        LINK_TEST(test_no_member_any_more),
        LINK_TEST(test_another_cluster),
        LINK_TEST(test_another_member_than_called),
        LINK_TEST(test_wrong_hellos),
        LINK_TEST(test_garbage),
        LINK_TEST(test_strangers_are_few_and_short),
        LINK_TEST(test_no_answer),
        LINK_TEST(test_wrong_answers),
        LINK_TEST(test_nonsense_after_the_greeting),
        LINK_TEST(test_new_call_replaces_the_old_link),
        LINK_TEST(test_slow_reader),
        LINK_TEST(test_complains_once),
        LINK_TEST(test_codec),
    };
    char any_port[40];

    snprintf(any_port, sizeof any_port, "%s:0", own_host());
    defaults.listen = any_port;
    signal(SIGPIPE, SIG_IGN);
    log_set_level(getenv("VERBOSE") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
