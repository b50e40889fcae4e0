/*
 * The guest's side. There is no code in this guest: the test is the guest.
 *
 * <runtime directory>/<iface_id>.frames is a SOCK_SEQPACKET socket; one client at a time, a new one takes the place
 * of the old. A message is a virtio_net_hdr_v1 of 12 bytes and an Ethernet frame, both ways, exactly as a guest and
 * its TAP see them: offloads and broken headers included. While nobody is connected, frames to the guest are lost.
 * Nothing passes while the VM is paused.
 *
 * <runtime directory>/standin.ctl is another, for orders: see obey().
 *
 * The boot argument `tiny=<mode>` makes it behave as that tiny guest does (tests/guest/tiny.S) for the modes halt,
 * ctrlaltdel, reset, flood, echo and die; without it the guest is up and ends on Ctrl-Alt-Del.
 */
#include "standin.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

enum {
    FRAME_MAX = 12 + 65536 + 64,
    BURST = 64, /* frames of one interface before the others have their turn */
    ORDER_MAX = STANDIN_FAULT_TEXT_MAX,
};

struct channel {
    int listener;
    int client; /* -1 when there is none */
};

/* Frames of one interface. `held` is what came from the TAP and did not fit into the client's socket yet. */
struct wire {
    struct standin_nic *nic;
    struct channel channel;
    uint64_t sent, refused, received; /* by the guest; refused by the TAP */
    size_t held_len;
    char held[FRAME_MAX];
};

static struct wire wires[STANDIN_NICS];
static struct channel control;
static char mode[32];

void standin_console(const char *text)
{
    ssize_t ignored = write(STDOUT_FILENO, text, strlen(text));
    (void)ignored;
}

static struct channel listen_at(const struct standin *s, const char *name, const char *suffix)
{
    struct channel channel = {.client = -1};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *slash = strrchr(s->api_sock, '/');
    const int dir_len = slash == NULL ? 0 : (int)(slash + 1 - s->api_sock);
    const int len = snprintf(address.sun_path, sizeof address.sun_path, "%.*s%s%s", dir_len, s->api_sock, name, suffix);
    (void)unlink(address.sun_path);
    channel.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (len >= (int)sizeof address.sun_path || channel.listener < 0 || bind(channel.listener, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(channel.listener, 1) != 0) {
        standin_log(s, "main", "standin: cannot listen on %s: %s", address.sun_path, strerror(errno));
        standin_exit(s, 1);
    }
    return channel;
}

static void drop_client(struct channel *channel)
{
    if (channel->client >= 0) {
        (void)close(channel->client);
    }
    channel->client = -1;
}

static void take_client(struct channel *channel)
{
    // cppcheck-suppress nullPointer ; accept(2) allows it
    int fd = accept4(channel->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        drop_client(channel);
        channel->client = fd;
    }
}

static void frames_from_client(struct wire *wire)
{
    static char frame[FRAME_MAX];
    for (int i = 0; i < BURST; i++) {
        const ssize_t len = recv(wire->channel.client, frame, sizeof frame, 0);
        if (len < 0 && errno == EAGAIN) {
            return;
        }
        if (len <= 0) {
            drop_client(&wire->channel);
            return;
        }
        if (write(wire->nic->tap, frame, (size_t)len) == len) {
            wire->sent++;
        } else {
            wire->refused++;
        }
    }
}

/* False: it has to wait for its client. */
static bool deliver(struct wire *wire)
{
    if (wire->held_len == 0 || wire->channel.client < 0) {
        wire->held_len = 0;
        return true;
    }
    if (send(wire->channel.client, wire->held, wire->held_len, MSG_NOSIGNAL) < 0 && errno == EAGAIN) {
        return false;
    }
    wire->received++;
    wire->held_len = 0;
    return true;
}

static void frames_from_tap(struct wire *wire)
{
    for (int i = 0; i < BURST && deliver(wire); i++) {
        const ssize_t len = read(wire->nic->tap, wire->held, sizeof wire->held);
        if (len <= 0) {
            return;
        }
        wire->held_len = (size_t)len;
    }
}

static void count_frames(char *text, size_t size)
{
    uint64_t sent = 0;
    uint64_t refused = 0;
    uint64_t received = 0;
    for (size_t i = 0; i < STANDIN_NICS; i++) {
        sent += wires[i].sent;
        refused += wires[i].refused;
        received += wires[i].received;
    }
    (void)snprintf(text, size, "sent=%llu refused=%llu received=%llu", (unsigned long long)sent, (unsigned long long)refused, (unsigned long long)received);
}

/* "fault=<fault>", "clear" (no faults any more), "print=<text>", "end=<status>", "counts". */
static void obey(const struct standin *s, const char *order, char *answer, size_t size)
{
    const char *value = strchr(order, '=');
    value = value == NULL ? order : value + 1;
    (void)snprintf(answer, size, "ok");
    if (strncmp(order, "fault=", 6) == 0 || strcmp(order, "clear") == 0) {
        (void)snprintf(answer, size, "%s", standin_faults_add(value));
    } else if (strncmp(order, "print=", 6) == 0) {
        standin_console(value);
    } else if (strncmp(order, "end=", 4) == 0) {
        standin_exit(s, atoi(value));
    } else if (strcmp(order, "counts") == 0) {
        count_frames(answer, size);
    } else {
        (void)snprintf(answer, size, "not an order");
    }
}

static void serve_control(const struct standin *s)
{
    char order[ORDER_MAX];
    char answer[128];
    const ssize_t len = recv(control.client, order, sizeof order - 1, 0);
    if (len <= 0) {
        drop_client(&control);
        return;
    }
    order[len] = '\0';
    obey(s, order, answer, sizeof answer);
    (void)send(control.client, answer, strlen(answer), MSG_NOSIGNAL);
}

static bool is_mode(const char *name)
{
    return strncmp(mode, name, 3) == 0; /* three letters count, as with the tiny guest */
}

/* `standin.print=some_words`: said before anything else. */
static void say_words(struct standin *s)
{
    char words[128];
    if (!standin_boot_arg(s, "standin.print", words, sizeof words)) {
        return;
    }
    for (char *p = words; *p != '\0'; p++) {
        *p = (char)(*p == '_' ? ' ' : *p);
    }
    standin_console(words);
    standin_console("\n");
}

/* Once, when the machine starts. */
static void boot(struct standin *s)
{
    say_words(s);
    if (!standin_boot_arg(s, "tiny", mode, sizeof mode)) {
        standin_console("standin: up\n");
        return;
    }
    if (is_mode("silent")) {
        return; /* says nothing by itself */
    }
    standin_console("tiny: up\n");
    if (is_mode("ctrlaltdel")) {
        standin_console("tiny: waiting for ctrl-alt-del\n");
    } else if (is_mode("reset")) {
        standin_exit(s, 0);
    } else if (is_mode("die")) {
        standin_console("Kernel panic - not syncing: tiny\n");
    }
}

static void notice_keys(struct standin *s)
{
    const bool heeds = mode[0] == '\0' || is_mode("ctrlaltdel");
    if (heeds && atomic_exchange(&s->ctrl_alt_del, false)) {
        standin_console(mode[0] == '\0' ? "standin: ctrl-alt-del\n" : "tiny: ctrl-alt-del\n");
        standin_exit(s, 0);
    }
}

static void echo_input(bool *open)
{
    char bytes[256];
    const ssize_t len = read(STDIN_FILENO, bytes, sizeof bytes);
    if (len > 0 && is_mode("echo")) {
        ssize_t ignored = write(STDOUT_FILENO, bytes, (size_t)len);
        (void)ignored;
    }
    *open = len > 0 || (len < 0 && errno == EAGAIN);
}

enum { WAKE, CONTROL_LISTENER, CONTROL_CLIENT, INPUT, FIRST_WIRE, PER_WIRE = 3 };
enum { POLL_MAX = FIRST_WIRE + PER_WIRE * STANDIN_NICS };

static void watch(const struct standin *s, bool input_open, struct pollfd *fds)
{
    const bool running = atomic_load(&s->state) == STANDIN_RUNNING;
    fds[WAKE] = (struct pollfd){.fd = s->wake, .events = POLLIN};
    fds[CONTROL_LISTENER] = (struct pollfd){.fd = control.listener, .events = POLLIN};
    fds[CONTROL_CLIENT] = (struct pollfd){.fd = control.client, .events = POLLIN};
    fds[INPUT] = (struct pollfd){.fd = input_open && running ? STDIN_FILENO : -1, .events = POLLIN};
    for (size_t i = 0; i < s->nic_count; i++) {
        const struct wire *wire = &wires[i];
        struct pollfd *own = &fds[FIRST_WIRE + PER_WIRE * i];
        const bool held = wire->held_len > 0 && wire->channel.client >= 0;
        own[0] = (struct pollfd){.fd = wire->channel.listener, .events = POLLIN};
        own[1] = (struct pollfd){.fd = running ? wire->channel.client : -1, .events = (short)(held ? POLLIN | POLLOUT : POLLIN)};
        own[2] = (struct pollfd){.fd = running && !held ? wire->nic->tap : -1, .events = POLLIN};
    }
}

static void serve_wire(struct wire *wire, const struct pollfd *fds)
{
    if (fds[1].revents & (POLLIN | POLLHUP | POLLERR)) {
        frames_from_client(wire);
    }
    if ((fds[1].revents & POLLOUT) || (fds[2].revents & POLLIN)) {
        frames_from_tap(wire);
    }
    if (fds[2].revents & POLLERR) { /* the TAP is gone for good: nothing to wait for any more */
        (void)close(wire->nic->tap);
        wire->nic->tap = -1;
    }
    if (fds[0].revents != 0) {
        take_client(&wire->channel);
    }
}

static void serve_once(struct standin *s, bool *input_open, int timeout_ms)
{
    struct pollfd fds[POLL_MAX];
    eventfd_t ignored;
    watch(s, *input_open, fds);
    (void)poll(fds, FIRST_WIRE + PER_WIRE * s->nic_count, timeout_ms);
    (void)eventfd_read(s->wake, &ignored);
    if (fds[CONTROL_CLIENT].revents != 0) {
        serve_control(s);
    }
    if (fds[CONTROL_LISTENER].revents != 0) {
        take_client(&control);
    }
    if (fds[INPUT].revents != 0) {
        echo_input(input_open);
    }
    for (size_t i = 0; i < s->nic_count; i++) {
        serve_wire(&wires[i], &fds[FIRST_WIRE + PER_WIRE * i]);
    }
}

void standin_guest_listen(struct standin *s)
{
    control = listen_at(s, "standin", ".ctl");
    for (size_t i = 0; i < s->nic_count; i++) {
        wires[i].nic = &s->nics[i];
        wires[i].channel = listen_at(s, wires[i].nic->iface_id, ".frames");
    }
}

void standin_guest_run(struct standin *s)
{
    bool booted = false;
    bool input_open = true;
    (void)fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
    (void)fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    for (;;) {
        const bool running = atomic_load(&s->state) == STANDIN_RUNNING;
        if (running && !booted) {
            boot(s);
            booted = true;
        }
        if (running) {
            notice_keys(s);
        }
        if (running && is_mode("flood")) {
            standin_console("tiny: flood 0123456789abcdefghijklmnopqrstuvwxyz\n");
        }
        serve_once(s, &input_open, running && is_mode("flood") ? 1 : -1);
    }
}
