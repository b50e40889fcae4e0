#include "host/kvm.h"

#include "core/cleanup.h"
#include "core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

enum { MEMORY_BYTES = 0x1000, CODE_AT = 0x0, INTERRUPT_EVERY_MS = 20 };

/* Real mode: mov ecx, 10000000; loop: dec ecx; jnz loop; hlt. */
static const uint8_t guest_code[] = {0x66, 0xb9, 0x80, 0x96, 0x98, 0x00, 0x66, 0x49, 0x75, 0xfc, 0xf4};

struct vcpu_run {
    int vcpu;
    struct kvm_run *run;
    atomic_bool cut_off;
    atomic_bool done;
    bool halted;
    int64_t loop_us;
};

static void on_interrupt(int signal)
{
    (void)signal;
}

static void *run_vcpu(void *arg)
{
    struct vcpu_run *vcpu = arg;
    int64_t begin_us = clock_monotonic_us();
    while (!atomic_load(&vcpu->cut_off)) {
        int rc = ioctl(vcpu->vcpu, KVM_RUN, 0);
        if (rc == 0 && vcpu->run->exit_reason == KVM_EXIT_HLT) {
            vcpu->halted = true;
            break;
        }
        if (rc != 0 && errno != EINTR && errno != EAGAIN) {
            break;
        }
        if (rc == 0) {
            break;
        }
    }
    vcpu->loop_us = clock_monotonic_us() - begin_us;
    atomic_store(&vcpu->done, true);
    return NULL;
}

/* Runs the vCPU in a thread of its own, so that only that thread is interrupted. */
static int run_with_deadline(struct vcpu_run *vcpu, int timeout_ms)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    struct sigaction old;
    pthread_t thread;
    const int signal_number = SIGRTMIN + 1;
    if (sigaction(signal_number, &action, &old) != 0) {
        return -1;
    }
    int rc = pthread_create(&thread, NULL, run_vcpu, vcpu);
    if (rc != 0) {
        (void)sigaction(signal_number, &old, NULL);
        return -1;
    }
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    while (!atomic_load(&vcpu->done)) {
        const struct timespec pause = {.tv_nsec = 1000000};
        if (clock_monotonic_ms() >= deadline_ms) {
            /* The vCPU sees the flag, or the signal interrupts it: again and again, since one may come too early. */
            const struct timespec again = {.tv_nsec = INTERRUPT_EVERY_MS * 1000000L};
            atomic_store(&vcpu->cut_off, true);
            vcpu->run->immediate_exit = 1;
            (void)pthread_kill(thread, signal_number);
            (void)nanosleep(&again, NULL);
        } else {
            (void)nanosleep(&pause, NULL);
        }
    }
    (void)pthread_join(thread, NULL);
    (void)sigaction(signal_number, &old, NULL);
    return 0;
}

static int set_registers(int vcpu)
{
    struct kvm_sregs sregs;
    struct kvm_regs regs = {.rip = CODE_AT, .rflags = 2};
    if (ioctl(vcpu, KVM_GET_SREGS, &sregs) != 0) {
        return -1;
    }
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    return ioctl(vcpu, KVM_SET_SREGS, &sregs) != 0 || ioctl(vcpu, KVM_SET_REGS, &regs) != 0 ? -1 : 0;
}

static int refuse(struct kvm_probe *ret, const char *what)
{
    (void)snprintf(ret->reason, sizeof ret->reason, "KVM is not usable: %s: %s", what, strerrordesc_np(errno));
    return -1;
}

static void judge(const struct vcpu_run *vcpu, int timeout_ms, struct kvm_probe *ret)
{
    if (vcpu->halted) {
        ret->usable = true;
        ret->loop_us = vcpu->loop_us;
        (void)snprintf(ret->reason, sizeof ret->reason, "KVM is usable: ten million iterations took %lld us",
                       (long long)vcpu->loop_us);
    } else if (atomic_load(&vcpu->cut_off)) {
        (void)snprintf(ret->reason, sizeof ret->reason,
                       "KVM is there, but too slow: ten million iterations did not finish within %d ms", timeout_ms);
    } else {
        (void)snprintf(ret->reason, sizeof ret->reason, "KVM is there, but the vCPU stopped with exit reason %u",
                       vcpu->run->exit_reason);
    }
}

static int probe_vcpu(int vm, size_t run_size, int timeout_ms, struct kvm_probe *ret)
{
    struct vcpu_run vcpu = {.loop_us = -1};
    AUTO_CLOSE int fd = ioctl(vm, KVM_CREATE_VCPU, 0);
    if (fd < 0) {
        return refuse(ret, "a vCPU could not be made");
    }
    vcpu.vcpu = fd;
    vcpu.run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (vcpu.run == MAP_FAILED) {
        return refuse(ret, "a vCPU could not be mapped");
    }
    ret->present = true;
    int result = 0;
    if (set_registers(fd) != 0 || run_with_deadline(&vcpu, timeout_ms) != 0) {
        result = refuse(ret, "a vCPU could not be run");
    } else {
        judge(&vcpu, timeout_ms, ret);
    }
    (void)munmap(vcpu.run, run_size);
    return result;
}

static int probe_vm(int kvm, int timeout_ms, struct kvm_probe *ret)
{
    AUTO_CLOSE int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    int run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (vm < 0 || run_size < (int)sizeof(struct kvm_run)) {
        return refuse(ret, "a VM could not be made");
    }
    uint8_t *memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return refuse(ret, "no memory for a VM");
    }
    memcpy(memory + CODE_AT, guest_code, sizeof guest_code);
    const struct kvm_userspace_memory_region region = {.memory_size = MEMORY_BYTES,
                                                       .userspace_addr = (uint64_t)(uintptr_t)memory};
    int result = ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) != 0
                     ? refuse(ret, "a VM could not be given memory")
                     : probe_vcpu(vm, (size_t)run_size, timeout_ms, ret);
    (void)munmap(memory, MEMORY_BYTES);
    return result;
}

void kvm_probe(int timeout_ms, struct kvm_probe *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->loop_us = -1;
    AUTO_CLOSE int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0) {
        (void)refuse(ret, "/dev/kvm could not be opened");
        return;
    }
    if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
        (void)snprintf(ret->reason, sizeof ret->reason, "KVM is not usable: its API has another version than %d",
                       KVM_API_VERSION);
        return;
    }
    (void)probe_vm(kvm, timeout_ms, ret);
}
