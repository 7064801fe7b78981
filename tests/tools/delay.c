/* SPDX-License-Identifier: Apache-2.0 */
/* A slow network switch: forwards frames from each of these network interfaces to all others. Each
 * frame has its own delay, so frames also overtake one another. For machines whose kernel has
 * neither netem nor NFQUEUE. Needs CAP_NET_RAW; a signal ends it.
 *
 *   delay MIN_MS MAX_MS INTERFACE…
 *
 * Frames keep their offloads (PACKET_VNET_HDR): if the sender leaves a checksum or a segmentation
 * to its card, the receiver still has to do it. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

#define MAX_PORTS   16
#define FRAME_BYTES (65536 + 256) /* the largest segment, and its headers */
#define FRAMES_MAX  20000         /* in transit; further frames are lost, as in any switch */

struct frame {
    struct frame *next; /* the frame that is due next */
    uint64_t due_us;
    unsigned from;
    size_t len;
    uint8_t data[];
};

static struct pollfd ports[MAX_PORTS];
static unsigned n_ports;
static struct frame *frames;
static unsigned n_frames;

static void open_port(const char *name)
{
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), yes = 1;

    at.sll_ifindex = (int)if_nametoindex(name);
    if (fd < 0 || at.sll_ifindex == 0 || n_ports == MAX_PORTS ||
        setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &yes, sizeof(yes)) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof(yes)) != 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
        die("%s: %s", name, strerror(errno));
    ports[n_ports++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

static void keep(struct frame *f)
{
    struct frame **at = &frames;

    while (*at != NULL && (*at)->due_us <= f->due_us)
        at = &(*at)->next;
    f->next = *at;
    *at = f;
    n_frames++;
}

static void take(unsigned port, uint64_t min_us, uint64_t max_us)
{
    static uint8_t data[FRAME_BYTES];
    ssize_t len;

    while ((len = recv(ports[port].fd, data, sizeof(data), 0)) > 0) {
        struct frame *f;

        if (n_frames == FRAMES_MAX)
            continue;
        f = xmalloc(sizeof(*f) + (size_t)len);
        f->due_us = clock_boot_us() + min_us + (uint64_t)random() % (max_us - min_us + 1);
        f->from = port;
        f->len = (size_t)len;
        memcpy(f->data, data, f->len);
        keep(f);
    }
}

/* Sends the frames that are due. Returns the time until the next one: milliseconds for poll. */
static int pass_on(void)
{
    while (frames != NULL) {
        struct frame *f = frames;
        uint64_t now = clock_boot_us();

        if (f->due_us > now)
            return (int)((f->due_us - now) / 1000 + 1);
        frames = f->next;
        n_frames--;
        for (unsigned i = 0; i < n_ports; i++)
            if (i != f->from && send(ports[i].fd, f->data, f->len, 0) < 0 && errno == EINVAL)
                die("a frame of %zu bytes: %s", f->len, strerror(errno));
        free(f);
    }
    return -1;
}

int main(int argc, char **argv)
{
    uint64_t min_us, max_us;

    if (argc < 5) {
        fprintf(stderr, "usage: delay MIN_MS MAX_MS INTERFACE...\n");
        return 2;
    }
    min_us = strtoull(argv[1], NULL, 10) * 1000;
    max_us = max_u64(min_us, strtoull(argv[2], NULL, 10) * 1000);
    srandom((unsigned)clock_entropy());
    for (int i = 3; i < argc; i++)
        open_port(argv[i]);
    for (;;) {
        if (poll(ports, n_ports, pass_on()) < 0 && errno != EINTR)
            die("poll: %s", strerror(errno));
        for (unsigned i = 0; i < n_ports; i++)
            if (ports[i].revents != 0)
                take(i, min_us, max_us);
    }
}
