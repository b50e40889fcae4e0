/* The two programs of the gate: a handful of instructions each, written out. */
#include "host/gate_parts.h"

#include "core/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(BPF_TAG_SIZE == (int)GATE_TAG_BYTES && BPF_OBJ_NAME_LEN == (int)GATE_NAME_MAX, "the kernel's own");

#define OF_PACKET(member) ((short)offsetof(struct __sk_buff, member))
#define LOAD(to, from, at) {.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = (to), .src_reg = (from), .off = (at)}
#define STORE(to, at, from) {.code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = (to), .src_reg = (from), .off = (at)}
#define SET(to, value) {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = (to), .imm = (value)}
#define KEEP_BITS(to, value) {.code = BPF_ALU | BPF_AND | BPF_K, .dst_reg = (to), .imm = (int)(value)}
#define SKIP_IF_ANY_BIT(reg, value, count) {.code = BPF_JMP | BPF_JSET | BPF_K, .dst_reg = (reg), .imm = (int)(value), .off = (count)}
#define SKIP_IF_NOT(reg, value, count) {.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = (reg), .imm = (value), .off = (count)}
#define END {.code = BPF_JMP | BPF_EXIT}

/* Register 1 is the packet at the start, and register 0 the answer at the end. TC_ACT_UNSPEC: whatever other filters say. */
static const struct bpf_insn in_program[] = {
    SET(BPF_REG_0, TC_ACT_SHOT),
    LOAD(BPF_REG_2, BPF_REG_1, OF_PACKET(mark)),
    SKIP_IF_ANY_BIT(BPF_REG_2, GATE_MARK_JUDGED, 1),
    END,
    KEEP_BITS(BPF_REG_2, ~GATE_MARK_JUDGED),
    STORE(BPF_REG_1, OF_PACKET(mark), BPF_REG_2),
    SET(BPF_REG_0, TC_ACT_UNSPEC),
    END,
};

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

static const struct {
    const char *name;
    const struct bpf_insn *code;
    size_t count;
} programs[GATE_SIDE_COUNT_] = {
    [GATE_IN] = {"smartvm_in", in_program, ARRAY_LEN(in_program)},
    [GATE_OUT] = {"smartvm_out", out_program, ARRAY_LEN(out_program)},
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct gate_program loaded[GATE_SIDE_COUNT_] = {{.fd = -1}, {.fd = -1}};

const char *gate_program_name(enum gate_side side)
{
    return programs[side].name;
}

/* The C library has no function for it. */
static int bpf(int command, union bpf_attr *attr)
{
    return (int)syscall(SYS_bpf, command, attr, sizeof *attr);
}

static int load(enum gate_side side, int *ret_fd)
{
    union bpf_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_SCHED_CLS;
    attr.insns = (uintptr_t)programs[side].code;
    attr.insn_cnt = (uint32_t)programs[side].count;
    attr.license = (uintptr_t) "GPL";
    memcpy(attr.prog_name, programs[side].name, strlen(programs[side].name));
    *ret_fd = bpf(BPF_PROG_LOAD, &attr);
    return *ret_fd < 0 ? errno : 0;
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
    int result = load(side, &fd);
    struct gate_program program = {.fd = fd};
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
    return result == 0 ? 0 : error_sys(err, ERR_FIREWALL_SETUP_FAILED, result, "the kernel does not take the program %s", programs[side].name);
}
