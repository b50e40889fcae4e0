#include "host/vmm/kvm.h"

#include "core/cleanup.h"
#include "core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

/* The guest's memory: page tables that map the first 2 MiB to themselves, then the code. */
enum {
    GUEST_PML4 = 0x1000,
    GUEST_PDPT = 0x2000,
    GUEST_PD = 0x3000,
    GUEST_CODE = 0x4000,
    GUEST_BYTES = 0x5000,
    LOOP_COUNT = 10 * 1000 * 1000,
    KERNEL_SIGSET_BYTES = 8,
};

/* Bits of the x86-64 architecture: page table entries, control registers, EFER, segment types. */
#define PAGE_PRESENT_WRITABLE UINT64_C(3)
#define PAGE_LARGE            UINT64_C(0x80)
#define CR0_PE_ET_PG          UINT64_C(0x80000011)
#define CR4_PAE               UINT64_C(0x20)
#define EFER_LME_LMA          UINT64_C(0x500)
#define RFLAGS_RESERVED       UINT64_C(2)

static const uint8_t guest_code[] = {
    0xff, 0xc9, /* loop: dec ecx */
    0x75, 0xfc, /*       jnz loop */
    0xf4,       /*       hlt */
};

struct guest {
    int kvm;
    int vm;
    int vcpu;
    uint8_t *memory;
    struct kvm_run *run;
    size_t run_bytes;
};

static void guest_free(struct guest *guest)
{
    if (guest->run != NULL) {
        (void)munmap(guest->run, guest->run_bytes);
    }
    cleanup_close(&guest->vcpu);
    cleanup_close(&guest->vm);
    cleanup_close(&guest->kvm);
    if (guest->memory != NULL) {
        (void)munmap(guest->memory, GUEST_BYTES);
    }
}

/* Says what is wrong, with the words of the kernel; returns false. */
static bool say(struct kvm_probe *probe, int errnum, const char *what)
{
    const char *words = strerrordesc_np(errnum);
    (void)snprintf(probe->reason, sizeof probe->reason, "%s: %s", what, words != NULL ? words : "unknown error");
    return false;
}

static bool open_kvm(struct guest *guest, struct kvm_probe *probe)
{
    guest->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (guest->kvm < 0) {
        return say(probe, errno, "/dev/kvm cannot be opened");
    }
    if (ioctl(guest->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
        (void)snprintf(probe->reason, sizeof probe->reason, "/dev/kvm does not speak KVM's API version %d", KVM_API_VERSION);
        return false;
    }
    return true;
}

static bool make_vcpu(struct guest *guest, struct kvm_probe *probe)
{
    guest->vm = ioctl(guest->kvm, KVM_CREATE_VM, 0);
    if (guest->vm < 0) {
        return say(probe, errno, "KVM makes no VM");
    }
    guest->vcpu = ioctl(guest->vm, KVM_CREATE_VCPU, 0);
    int run_bytes = ioctl(guest->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (guest->vcpu < 0 || run_bytes < (int)sizeof *guest->run) {
        return say(probe, errno, "KVM makes no vCPU");
    }
    void *run = mmap(NULL, (size_t)run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, guest->vcpu, 0);
    if (run == MAP_FAILED) {
        return say(probe, errno, "KVM makes no vCPU");
    }
    guest->run = run;
    guest->run_bytes = (size_t)run_bytes;
    return true;
}

static void write_entry(uint8_t *memory, size_t at, uint64_t entry)
{
    memcpy(memory + at, &entry, sizeof entry);
}

static bool load_memory(struct guest *guest, struct kvm_probe *probe)
{
    void *memory = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return say(probe, errno, "no memory for the test guest");
    }
    guest->memory = memory;
    write_entry(memory, GUEST_PML4, GUEST_PDPT | PAGE_PRESENT_WRITABLE);
    write_entry(memory, GUEST_PDPT, GUEST_PD | PAGE_PRESENT_WRITABLE);
    write_entry(memory, GUEST_PD, PAGE_LARGE | PAGE_PRESENT_WRITABLE);
    memcpy(guest->memory + GUEST_CODE, guest_code, sizeof guest_code);
    const struct kvm_userspace_memory_region region = {.memory_size = GUEST_BYTES, .userspace_addr = (uint64_t)(uintptr_t)memory};
    if (ioctl(guest->vm, KVM_SET_USER_MEMORY_REGION, &region) != 0) {
        return say(probe, errno, "KVM takes no memory for a VM");
    }
    return true;
}

/* 64-bit mode, as Firecracker enters a kernel. */
static bool set_registers(const struct guest *guest, struct kvm_probe *probe)
{
    struct kvm_sregs sregs;
    if (ioctl(guest->vcpu, KVM_GET_SREGS, &sregs) != 0) {
        return say(probe, errno, "KVM does not tell the registers of a vCPU");
    }
    const struct kvm_segment code = {.limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
    struct kvm_segment data = code;
    data.selector = 16;
    data.type = 3;
    data.l = 0;
    data.db = 1;
    sregs.cs = code;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    sregs.cr0 = CR0_PE_ET_PG;
    sregs.cr3 = GUEST_PML4;
    sregs.cr4 = CR4_PAE;
    sregs.efer = EFER_LME_LMA;
    const struct kvm_regs regs = {.rip = GUEST_CODE, .rcx = LOOP_COUNT, .rflags = RFLAGS_RESERVED};
    if (ioctl(guest->vcpu, KVM_SET_SREGS, &sregs) != 0 || ioctl(guest->vcpu, KVM_SET_REGS, &regs) != 0) {
        return say(probe, errno, "KVM takes no registers for a vCPU");
    }
    return true;
}

/* The signal is blocked in this thread, and let through while the guest runs. */
static bool allow_interruption(const struct guest *guest, const sigset_t *outside, struct kvm_probe *probe)
{
    union {
        struct kvm_signal_mask mask;
        char bytes[sizeof(struct kvm_signal_mask) + KERNEL_SIGSET_BYTES];
    } argument = {.mask.len = KERNEL_SIGSET_BYTES};
    sigset_t inside = *outside;
    (void)sigdelset(&inside, SIGRTMIN + 1);
    memcpy(argument.mask.sigset, &inside, KERNEL_SIGSET_BYTES);
    if (ioctl(guest->vcpu, KVM_SET_SIGNAL_MASK, &argument) != 0) {
        return say(probe, errno, "KVM takes no signal mask for a vCPU");
    }
    return true;
}

static void judge(const struct guest *guest, int result, int errnum, int64_t took_us, struct kvm_probe *probe)
{
    if (result != 0 && errnum == EINTR) {
        (void)snprintf(probe->reason, sizeof probe->reason,
                       "KVM is there but runs a guest far too slowly: a loop of %d million iterations did not finish in "
                       "%lld ms",
                       LOOP_COUNT / 1000000, (long long)(took_us / 1000));
    } else if (result != 0) {
        (void)say(probe, errnum, "KVM does not run a guest");
    } else if (guest->run->exit_reason != KVM_EXIT_HLT) {
        (void)snprintf(probe->reason, sizeof probe->reason, "KVM ended the test guest with exit reason %u", guest->run->exit_reason);
    } else {
        probe->usable = true;
        probe->loop_us = took_us;
        (void)snprintf(probe->reason, sizeof probe->reason, "KVM runs a guest: a loop of %d million iterations took %lld us", LOOP_COUNT / 1000000,
                       (long long)took_us);
    }
}

/* Runs the guest until it halts or the timer's signal comes, which stays pending for the caller to take. */
static void run_guest(const struct guest *guest, int timeout_ms, struct kvm_probe *probe)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 1};
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    timer_t timer;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) {
        (void)say(probe, errno, "no timer can be made");
        return;
    }
    int64_t left = timeout_ms > 0 ? timeout_ms : 1;
    const struct itimerspec when = {.it_value = {left / 1000, (long)(left % 1000) * 1000000}};
    int64_t begin = clock_monotonic_us();
    (void)timer_settime(timer, 0, &when, NULL);
    int result = ioctl(guest->vcpu, KVM_RUN, 0);
    int errnum = errno;
    int64_t took = clock_monotonic_us() - begin;
    (void)timer_delete(timer);
    judge(guest, result, errnum, took, probe);
}

static void run_interruptibly(const struct guest *guest, int timeout_ms, struct kvm_probe *probe)
{
    sigset_t only;
    sigset_t old;
    sigset_t outside;
    (void)sigemptyset(&only);
    (void)sigaddset(&only, SIGRTMIN + 1);
    (void)pthread_sigmask(SIG_BLOCK, &only, &old);
    outside = old;
    (void)sigaddset(&outside, SIGRTMIN + 1);
    if (allow_interruption(guest, &outside, probe)) {
        run_guest(guest, timeout_ms, probe);
    }
    const struct timespec now = {0};
    while (sigtimedwait(&only, NULL, &now) > 0) {
    }
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void kvm_probe(int timeout_ms, struct kvm_probe *ret)
{
    CLEANUP(guest_free) struct guest guest = {.kvm = -1, .vm = -1, .vcpu = -1};
    *ret = (struct kvm_probe){.loop_us = -1};
    if (!open_kvm(&guest, ret) || !make_vcpu(&guest, ret)) {
        return;
    }
    ret->present = true;
    if (load_memory(&guest, ret) && set_registers(&guest, ret)) {
        run_interruptibly(&guest, timeout_ms, ret);
    }
}
