/*
 * The tiny guest: a "kernel" of a few hundred bytes for tests of VMMs. It needs no devices but the serial
 * port and the i8042, and is up after some hundred instructions, also where KVM emulates each of them.
 *
 * It has both entries of an x86-64 Linux kernel: the 64-bit one (long mode, rsi = boot parameters) and PVH's
 * (protected mode, ebx = hvm_start_info), by which Firecracker 1.12 and later and QEMU's microvm start it.
 * The code behind them is the same text, assembled once for each mode, so it uses 32-bit registers and
 * addresses only.
 *
 * It prints "tiny: up", then does what `tiny=<word>` on the kernel command line says; three letters count:
 *   halt        (default) cli; hlt: costs no CPU
 *   ctrlaltdel  waits for Ctrl-Alt-Del on the i8042, says "tiny: ctrl-alt-del", resets; costs no CPU
 *   reset       resets at once
 *   triple      triple fault
 *   spin        a loop without exits
 *   flood       prints lines for ever
 *   echo        sends back what comes in on the serial port
 *   args        prints its command line and "tiny: end of line", halts
 *   die         says what a Linux kernel says when it dies, halts
 *   panic       says the same, and resets, as one does with panic=-1
 *   reboot      says what a Linux kernel says before a reboot, and resets
 *   poweroff    says what a Linux kernel says at the end, and halts
 * With `ctrlaltdel:<word>` the word is done upon Ctrl-Alt-Del, instead of the reset.
 * Any other word: "tiny: unknown mode", halts.
 */
        .set    SERIAL_DATA, 0x3f8
        .set    SERIAL_LINE_STATUS, 0x3fd
        .set    I8042_DATA, 0x60
        .set    I8042_STATUS, 0x64              /* and the command register, when written */
        .set    I8042_COMMAND_RESET, 0xfe
        .set    PIC_COMMAND, 0x20
        .set    PIC_DATA, 0x21
        .set    PIC2_DATA, 0xa1
        .set    PIC_END_OF_INTERRUPT, 0x20
        .set    IRQ_BASE, 0x20                  /* vector of the first interrupt of the PIC */
        .set    KEYBOARD_VECTOR, IRQ_BASE + 1
        .set    INTERRUPT_GATE, 0x8e00
        .set    APIC_SPURIOUS, 0xfee000f0
        .set    APIC_ON, 0x1ff
        .set    APIC_LINT0, 0xfee00350
        .set    APIC_EXTERNAL, 0x700
        .set    BOOT_PARAMS_CMD_LINE_PTR, 0x228 /* struct boot_params, hdr.cmd_line_ptr */
        .set    START_INFO_CMDLINE_PADDR, 24    /* struct hvm_start_info */
        .set    XEN_ELFNOTE_PHYS32_ENTRY, 18

        .section .note.pvh, "a", @note
        .long   4, 8, XEN_ELFNOTE_PHYS32_ENTRY
        .asciz  "Xen"
        .quad   start32

/* Expects the command line's address in esi. */
        .macro  guest bits
        cld
        mov     $stack_top, %esp
        mov     %esi, %ebx
        mov     $text_up, %esi
        call    print\bits

        test    %ebx, %ebx
        jz      halt\bits
        mov     %ebx, %ebp                      /* where the line begins */
find_word\bits:                                 /* "tiny=" anywhere in the line */
        cmpb    $0, (%ebx)
        je      halt\bits
        cmpl    $0x796e6974, (%ebx)             /* "tiny" */
        jne     1f
        cmpb    $'=', 4(%ebx)
        je      choose\bits
1:      inc     %ebx
        jmp     find_word\bits

choose\bits:
        mov     5(%ebx), %eax
act\bits:
        and     $0xffffff, %eax
        cmp     $0x6c6168, %eax                 /* "hal" */
        je      halt\bits
        cmp     $0x727463, %eax                 /* "ctr" */
        je      ctrlaltdel\bits
        cmp     $0x736572, %eax                 /* "res" */
        je      reset\bits
        cmp     $0x697274, %eax                 /* "tri" */
        je      triple\bits
        cmp     $0x697073, %eax                 /* "spi" */
        je      spin\bits
        cmp     $0x6f6c66, %eax                 /* "flo" */
        je      flood\bits
        cmp     $0x686365, %eax                 /* "ech" */
        je      echo\bits
        cmp     $0x677261, %eax                 /* "arg" */
        je      args\bits
        cmp     $0x6e6170, %eax                 /* "pan" */
        je      panic\bits
        cmp     $0x626572, %eax                 /* "reb" */
        je      reboot\bits
        mov     $text_off, %esi
        cmp     $0x776f70, %eax                 /* "pow" */
        je      1f
        mov     $text_unknown, %esi
        cmp     $0x656964, %eax                 /* "die" */
        jne     1f
        mov     $text_panic, %esi
1:      call    print\bits

halt\bits:
        cli
        hlt
        jmp     halt\bits

/* Set 2 codes, as both VMMs send them, or set 1 where a firmware turned translation on. */
ctrlaltdel\bits:
        mov     $(idt + KEYBOARD_VECTOR * \bits / 4), %edi  /* a gate has 16 bytes in long mode, else 8 */
        mov     $keys\bits, %eax
        mov     %ax, (%edi)
        mov     %cs, %edx
        mov     %dx, 2(%edi)
        movw    $INTERRUPT_GATE, 4(%edi)
        shr     $16, %eax
        mov     %ax, 6(%edi)
        mov     $idt_pointer, %edi
        lidt    (%edi)
        .if     \bits == 32                     /* QEMU leaves to the guest what Firecracker has done: to let the PIC through the local APIC */
        movl    $APIC_ON, APIC_SPURIOUS
        movl    $APIC_EXTERNAL, APIC_LINT0
        .endif
        mov     $0x11, %al                      /* the usual four words for an 8259A; of its lines only the keyboard's is open */
        out     %al, $PIC_COMMAND
        mov     $IRQ_BASE, %al
        out     %al, $PIC_DATA
        mov     $4, %al
        out     %al, $PIC_DATA
        mov     $1, %al
        out     %al, $PIC_DATA
        mov     $0xff, %al
        out     %al, $PIC2_DATA
        mov     $0xfd, %al
        out     %al, $PIC_DATA
        mov     $text_waiting, %esi
        call    print\bits
        xor     %ebp, %ebp                      /* modifiers seen: bit 0 is control, bit 1 is alt */
wait\bits:
        sti
        hlt
        jmp     wait\bits

keys\bits:                                      /* never returns to where it came from */
        mov     $stack_top, %esp
1:      in      $I8042_STATUS, %al
        test    $1, %al
        jnz     4f
        mov     $PIC_END_OF_INTERRUPT, %al
        out     %al, $PIC_COMMAND
        jmp     wait\bits
4:      in      $I8042_DATA, %al
        mov     $1, %ecx
        cmp     $0x14, %al
        je      2f
        cmp     $0x1d, %al
        je      2f
        mov     $2, %ecx
        cmp     $0x11, %al
        je      2f
        cmp     $0x38, %al
        je      2f
        cmp     $0x71, %al
        je      3f
        cmp     $0x53, %al
        jne     1b
3:      cmp     $3, %ebp
        jne     1b
        mov     $text_ctrlaltdel, %esi
        call    print\bits
        cmpb    $':', 15(%ebx)                  /* behind "tiny=ctrlaltdel" */
        jne     reset\bits
        mov     16(%ebx), %eax
        jmp     act\bits
2:      or      %ecx, %ebp
        jmp     1b

panic\bits:
        mov     $text_panic, %esi
        jmp     5f
reboot\bits:
        mov     $text_reboot, %esi
5:      call    print\bits
reset\bits:
        mov     $I8042_COMMAND_RESET, %al
        out     %al, $I8042_STATUS
        mov     $1000, %ecx                     /* the VMM may take a moment, or have no i8042 */
1:      pause
        dec     %ecx
        jnz     1b

triple\bits:
        mov     $no_idt, %edi
        lidt    (%edi)
        ud2

spin\bits:
        pause
        jmp     spin\bits

flood\bits:
        mov     $text_flood, %esi
        call    print\bits
        jmp     flood\bits

echo\bits:
        mov     $SERIAL_LINE_STATUS, %dx
        in      %dx, %al
        test    $1, %al
        jnz     1f
        pause
        jmp     echo\bits
1:      mov     $SERIAL_DATA, %dx
        in      %dx, %al
        out     %al, %dx
        jmp     echo\bits

args\bits:
        mov     %ebp, %esi
        call    print\bits
        mov     $text_end_of_line, %esi
        call    print\bits
        jmp     halt\bits

print\bits:                                     /* a byte an exit: longer writes are dropped by some */
        mov     $SERIAL_DATA, %dx
1:      lodsb
        test    %al, %al
        jz      2f
        out     %al, %dx
        jmp     1b
2:      ret
        .endm

        .text
        .globl  start64
        .code64
start64:
        mov     BOOT_PARAMS_CMD_LINE_PTR(%esi), %esi
        guest   64

        .code32
start32:
        mov     START_INFO_CMDLINE_PADDR(%ebx), %esi
        guest   32

        .section .rodata
text_up:
        .asciz  "tiny: up\n"
text_end_of_line:
        .asciz  "\ntiny: end of line\n"
text_waiting:
        .asciz  "tiny: waiting for ctrl-alt-del\n"
text_ctrlaltdel:
        .asciz  "tiny: ctrl-alt-del\n"
text_unknown:
        .asciz  "tiny: unknown mode\n"
text_panic:
        .asciz  "Kernel panic - not syncing: tiny\n"
text_reboot:
        .asciz  "[    1.000000] reboot: Restarting system\n"
text_off:
        .asciz  "[    1.000000] reboot: Power down\n"
text_flood:
        .asciz  "tiny: flood 0123456789abcdefghijklmnopqrstuvwxyz\n"
idt_pointer:
        .word   (KEYBOARD_VECTOR + 1) * 16 - 1
        .long   idt, 0
no_idt:
        .fill   10, 1, 0                        /* limit 0: any exception is a triple fault */

        .bss
        .balign 16
idt:
        .fill   (KEYBOARD_VECTOR + 1) * 16, 1, 0
        .fill   128, 1, 0
stack_top:

        .section .note.GNU-stack, "", @progbits
