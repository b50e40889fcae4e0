/* The two programs of the gate, handed to the kernel; the one for what goes to guests is here, the other one in host/gate/in.c. */
#include "host/gate/code.h"

#include "core/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(BPF_TAG_SIZE == (int)GATE_TAG_BYTES && BPF_OBJ_NAME_LEN == (int)GATE_NAME_MAX, "the kernel's own");

/* What the host itself sends has come in by no interface. */
static const struct bpf_insn out_program[] = {
    SET(BPF_REG_0, TC_ACT_UNSPEC),
    LOAD(BPF_REG_3, BPF_REG_1, OF_PACKET(ingress_ifindex)),
    SKIP_IF_NOT(BPF_REG_3, 0, 1),
    END,
    LOAD(BPF_REG_2, BPF_REG_1, OF_PACKET(mark)),
    SKIP_IF_ANY_BIT(BPF_REG_2, GATE_MARK_JUDGED, 2),
    SET(BPF_REG_0, TC_ACT_SHOT),
    END,
    KEEP_BITS(BPF_REG_2, ~GATE_MARK_JUDGED),
    STORE(BPF_REG_1, OF_PACKET(mark), BPF_REG_2),
    END,
};

static const char *const names[GATE_SIDE_COUNT_] = {[GATE_IN] = "smartvm_in", [GATE_OUT] = "smartvm_out"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct gate_program loaded[GATE_SIDE_COUNT_] = {{.fd = -1}, {.fd = -1}};

const char *gate_program_name(enum gate_side side)
{
    return names[side];
}

/* The C library has no function for it. */
static int bpf(int command, union bpf_attr *attr)
{
    return (int)syscall(SYS_bpf, command, attr, sizeof *attr);
}

static int load(enum gate_side side, const struct bpf_insn *code, size_t count, int *ret_fd)
{
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_SCHED_CLS;
    attr.insns = (uintptr_t)code;
    attr.insn_cnt = (uint32_t)count;
    attr.license = (uintptr_t) "GPL";
    memcpy(attr.prog_name, names[side], strlen(names[side]));
    *ret_fd = bpf(BPF_PROG_LOAD, &attr);
    return *ret_fd < 0 ? errno : 0;
}

/* Where the kernel does not let programs read its memory (no CAP_PERFMON, lockdown), or does not say where to read, the mark is all they look at. */
static int load_in(int *ret_fd, int *ret_unchecked)
{
    struct gate_layout layout;
    struct bpf_insn code[GATE_CODE_MAX];
    *ret_unchecked = gate_layout_read(GATE_LAYOUT_PATH, &layout);
    if (*ret_unchecked == 0) {
        *ret_unchecked = load(GATE_IN, code, gate_code_in(&layout, code), ret_fd);
    }
    return *ret_unchecked == 0 ? 0 : load(GATE_IN, code, gate_code_in(NULL, code), ret_fd);
}

static int read_tag(struct gate_program *program)
{
    struct bpf_prog_info info;
    union bpf_attr attr;
    memset(&info, 0, sizeof info);
    memset(&attr, 0, sizeof attr);
    attr.info.bpf_fd = (uint32_t)program->fd;
    attr.info.info_len = sizeof info;
    attr.info.info = (uintptr_t)&info;
    if (bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) != 0) {
        return errno;
    }
    memcpy(program->tag, info.tag, sizeof program->tag);
    return 0;
}

/* Descriptors of programs are close-on-exec from the start: the kernel makes them so. */
static int load_and_keep(enum gate_side side)
{
    AUTO_CLOSE int fd = -1;
    int unchecked = 0;
    int result = side == GATE_IN ? load_in(&fd, &unchecked) : load(side, out_program, ARRAY_LEN(out_program), &fd);
    struct gate_program program = {.fd = fd, .unchecked = unchecked};
    if (result == 0) {
        result = read_tag(&program);
    }
    if (result == 0) {
        loaded[side] = program;
        (void)TAKE_FD(fd);
    }
    return result;
}

int gate_program_get(enum gate_side side, struct gate_program *ret, struct error *err)
{
    (void)pthread_mutex_lock(&lock);
    int result = loaded[side].fd >= 0 ? 0 : load_and_keep(side);
    *ret = loaded[side];
    (void)pthread_mutex_unlock(&lock);
    return result == 0 ? 0 : error_sys(err, ERR_FIREWALL_SETUP_FAILED, result, "the kernel does not take the program %s", names[side]);
}
