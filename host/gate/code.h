/*
 * Words to write the gate's programs in, one an instruction. Private to host/gate*.c. `count`: how many instructions are skipped. The kernel hands
 * the packet over in register 1 and takes the answer from register 0; a call spoils registers 0 to 5 and leaves the others.
 */
#ifndef SMARTVM_HOST_GATE_CODE_H
#define SMARTVM_HOST_GATE_CODE_H

#include "host/gate/parts.h"

#include <linux/bpf.h>
#include <linux/pkt_cls.h> /* TC_ACT_SHOT: drop. TC_ACT_UNSPEC: whatever other filters say */
#include <stddef.h>

#define OF_PACKET(member) ((short)offsetof(struct __sk_buff, member))
#define LOAD_OF(size, to, from, at) \
    { \
        .code = BPF_LDX | BPF_MEM | (size), .dst_reg = (to), .src_reg = (from), .off = (at) \
    }
#define LOAD(to, from, at)   LOAD_OF(BPF_W, to, from, at)
#define LOAD16(to, from, at) LOAD_OF(BPF_H, to, from, at)
#define LOAD8(to, from, at)  LOAD_OF(BPF_B, to, from, at)
#define STORE(to, at, from) \
    { \
        .code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = (to), .src_reg = (from), .off = (at) \
    }
#define SET(to, value) \
    { \
        .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = (to), .imm = (value) \
    }
#define COPY(to, from) \
    { \
        .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = (to), .src_reg = (from) \
    }
#define ADD(to, value) \
    { \
        .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = (to), .imm = (value) \
    }
#define ADD_OTHER(to, other) \
    { \
        .code = BPF_ALU64 | BPF_ADD | BPF_X, .dst_reg = (to), .src_reg = (other) \
    }
#define TAKE_OTHER(from, other) \
    { \
        .code = BPF_ALU64 | BPF_SUB | BPF_X, .dst_reg = (from), .src_reg = (other) \
    }
#define KEEP_BITS(to, value) \
    { \
        .code = BPF_ALU | BPF_AND | BPF_K, .dst_reg = (to), .imm = (int)(value) \
    }
#define SKIP(count) \
    { \
        .code = BPF_JMP | BPF_JA, .off = (count) \
    }
#define SKIP_IF_ANY_BIT(reg, value, count) \
    { \
        .code = BPF_JMP | BPF_JSET | BPF_K, .dst_reg = (reg), .imm = (int)(value), .off = (count) \
    }
#define SKIP_IF(reg, value, count) \
    { \
        .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = (reg), .imm = (value), .off = (count) \
    }
#define SKIP_IF_NOT(reg, value, count) \
    { \
        .code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = (reg), .imm = (value), .off = (count) \
    }
#define SKIP_IF_LESS(reg, than, count) \
    { \
        .code = BPF_JMP | BPF_JSLT | BPF_X, .dst_reg = (reg), .src_reg = (than), .off = (count) \
    } /* signed */
#define SKIP_IF_NOT_ABOVE(reg, limit, count) \
    { \
        .code = BPF_JMP | BPF_JLE | BPF_X, .dst_reg = (reg), .src_reg = (limit), .off = (count) \
    }
#define CALL(function) \
    { \
        .code = BPF_JMP | BPF_CALL, .imm = (function) \
    }
#define END \
    { \
        .code = BPF_JMP | BPF_EXIT \
    }

enum { GATE_CODE_MAX = 96 };

/* host/gate/in.c: returns how many. Without a layout (NULL) nothing is looked at but the mark. */
size_t gate_code_in(const struct gate_layout *layout, struct bpf_insn ret[GATE_CODE_MAX]);

#endif
