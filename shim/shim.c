/*
 * The parent of one VMM: see shim/protocol.h. There is one for each VM that runs, so it has no library, no heap and no configuration, and parses nothing; at
 * rest it sleeps in poll(2). Nothing but SIGKILL ends it before its VMM ends: it runs with all signals blocked. Linux on x86-64.
 */
#include "shim/protocol.h"

#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/poll.h>
#include <linux/prctl.h>
#include <linux/time.h>
#include <linux/wait.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    READ_BYTES = 4096,
    READS_MAX = 64, /* at once: more than a FIFO holds */
    PAUSE_MS = 10,  /* between two looks at a console that is being written to */
    EXITED = 1,     /* CLD_EXITED, CLD_KILLED, CLD_DUMPED of waitid(2) */
    KILLED = 2,
    NO_SIGNAL = 0x4000, /* MSG_NOSIGNAL */
    CLOSE_ON_EXEC = 02000000,
};

static long call(long number, long a, long b, long c, long d, long e)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
    return result;
}

static long address(const void *p)
{
    return (long)(uintptr_t)p;
}

struct stream {
    int fifo;
    const char *name, *older;
    int file; /* -1: not open */
    long size;
};

static struct stream streams[] = {
    {SHIM_FD_CONSOLE, SHIM_CONSOLE, SHIM_CONSOLE_OLDER, -1, 0},
    {SHIM_FD_VMM, SHIM_VMM, SHIM_VMM_OLDER, -1, 0},
};
enum { STREAMS = sizeof streams / sizeof streams[0] };

static char buffer[READ_BYTES];
static char message[SHIM_MESSAGE_MAX]; /* how the VMM ended */
static size_t message_len;

static void stream_close(struct stream *stream)
{
    if (stream->file >= 0) {
        (void)call(__NR_close, stream->file, 0, 0, 0, 0);
    }
    stream->file = -1;
}

static void stream_open(struct stream *stream)
{
    long flags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC;
    stream->file = (int)call(__NR_openat, SHIM_FD_DIR, address(stream->name), flags, 0600, 0);
    stream->size = stream->file >= 0 ? call(__NR_lseek, stream->file, 0, 2, 0, 0) : 0;
}

static void stream_keep(struct stream *stream, long len)
{
    if (stream->file < 0) {
        stream_open(stream);
    }
    if (stream->size + len > SHIM_KEPT_MAX) {
        stream_close(stream);
        (void)call(__NR_renameat2, SHIM_FD_DIR, address(stream->name), SHIM_FD_DIR, address(stream->older), 0);
        stream_open(stream);
    }
    for (long done = 0; stream->file >= 0 && done < len;) {
        long n = call(__NR_write, stream->file, address(buffer + done), len - done, 0, 0);
        if (n <= 0) {
            return; /* the file system is full */
        }
        done += n;
        stream->size += n;
    }
}

/* Reads all that is there. Returns whether there was anything. */
static bool keep_all(void)
{
    bool any = false;
    for (int i = 0; i < STREAMS; i++) {
        for (int reads = 0; reads < READS_MAX; reads++) {
            long n = call(__NR_read, streams[i].fifo, address(buffer), READ_BYTES, 0, 0);
            if (n <= 0) {
                break;
            }
            any = true;
            stream_keep(&streams[i], n);
        }
    }
    return any;
}

static void add_text(const char *text)
{
    for (; *text != '\0' && message_len < sizeof message - 1; text++) {
        message[message_len++] = *text;
    }
}

static void add_number(uint64_t number)
{
    char digits[24];
    size_t at = sizeof digits;
    digits[--at] = '\0';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    add_text(" ");
    add_text(digits + at);
}

static void add_time(int clock)
{
    struct __kernel_timespec now = {0};
    (void)call(__NR_clock_gettime, clock, address(&now), 0, 0, 0);
    add_number((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000);
}

/* Whole or not at all: readers see the file by its name, which it gets last. */
static void write_exit(void)
{
    long flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC;
    int file = (int)call(__NR_openat, SHIM_FD_DIR, address(SHIM_EXIT_NEW), flags, 0600, 0);
    if (file < 0) {
        return;
    }
    long n = call(__NR_write, file, address(message), (long)message_len, 0, 0);
    (void)call(__NR_close, file, 0, 0, 0, 0);
    if (n == (long)message_len) {
        (void)call(__NR_renameat2, SHIM_FD_DIR, address(SHIM_EXIT_NEW), SHIM_FD_DIR, address(SHIM_EXIT), 0);
    }
}

/* It stays a zombie until this program ends, so that its number is not given to another process while somebody asks for it. */
static bool note_end(const char *boot)
{
    int info[32] = {0}; /* siginfo_t: number, errno, code, -, pid, uid, status */
    if (call(__NR_waitid, P_PIDFD, SHIM_FD_PROCESS, address(info), WEXITED | WNOHANG | WNOWAIT, 0) != 0 || info[3 + 1] == 0) {
        return false;
    }
    add_text(boot);
    add_text(info[2] == EXITED ? " exited" : info[2] == KILLED ? " killed" : " dumped");
    add_number((uint64_t)(info[6] & 0xff));
    add_time(CLOCK_REALTIME);
    add_time(CLOCK_BOOTTIME);
    write_exit();
    return true;
}

static void reap(void)
{
    (void)call(__NR_waitid, P_PIDFD, SHIM_FD_PROCESS, 0, WEXITED | WNOHANG, 0);
}

static void tell(int link, const char *text, size_t len)
{
    (void)call(__NR_sendto, link, address(text), (long)len, NO_SIGNAL, 0);
}

/* Who connects reads from now on. */
static int hand_over(int link, bool ended)
{
    int next = (int)call(__NR_accept4, SHIM_FD_LISTEN, 0, 0, CLOSE_ON_EXEC, 0);
    if (next < 0) {
        return link;
    }
    if (link >= 0) {
        (void)call(__NR_close, link, 0, 0, 0, 0);
    }
    for (int i = 0; i < STREAMS; i++) {
        stream_close(&streams[i]);
    }
    tell(next, SHIM_READY, sizeof SHIM_READY - 1);
    if (ended) {
        tell(next, message, message_len);
    }
    return next;
}

static bool is_over(int link)
{
    long n = call(__NR_recvfrom, link, address(buffer), READ_BYTES, 0, 0);
    return n <= 0;
}

static void run(const char *boot)
{
    int link = SHIM_FD_LINK;
    bool ended = false;
    bool pause = false;
    for (;;) {
        struct pollfd fds[] = {
            {.fd = SHIM_FD_LISTEN, .events = POLLIN},
            {.fd = link, .events = POLLIN},
            {.fd = ended ? -1 : SHIM_FD_PROCESS, .events = POLLIN},
            {.fd = link >= 0 || pause ? -1 : SHIM_FD_CONSOLE, .events = POLLIN},
            {.fd = link >= 0 || pause ? -1 : SHIM_FD_VMM, .events = POLLIN},
        };
        (void)call(__NR_poll, address(fds), sizeof fds / sizeof fds[0], pause ? PAUSE_MS : -1, 0, 0);
        if (link >= 0 && fds[1].revents != 0 && is_over(link)) {
            (void)call(__NR_close, link, 0, 0, 0, 0);
            link = -1;
        }
        if (!ended && fds[2].revents != 0 && note_end(boot)) {
            ended = true;
            if (link >= 0) {
                tell(link, message, message_len);
            }
        }
        if (fds[0].revents != 0) {
            link = hand_over(link, ended);
        }
        pause = link < 0 && keep_all();
        if (ended && link < 0) {
            return;
        }
    }
}

__attribute__((used, noreturn)) void shim_main(const long *stack)
{
    const char *const *argv = (const char *const *)(stack + 1);
    (void)call(__NR_prctl, PR_SET_NAME, address("vm-shim"), 0, 0, 0);
    (void)call(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0); /* see core/core_dumps.h */
    run(stack[0] > 2 ? argv[2] : "0");
    reap();
    (void)call(__NR_exit_group, 0, 0, 0, 0, 0);
    __builtin_unreachable();
}

__asm__(".globl _start\n"
        "_start:\n\t"
        "xorl %ebp, %ebp\n\t"
        "movq %rsp, %rdi\n\t"
        "andq $-16, %rsp\n\t"
        "call shim_main\n\t"
        "hlt\n");
