/* The program shim/shim.c, as it was built, inside the binary (host/process/shim.c). */
    .section .rodata
    .global shim_program_begin
    .global shim_program_len
    .balign 8
shim_program_len:
    .quad shim_program_end - shim_program_begin
shim_program_begin:
    .incbin "smartvmd-shim"
shim_program_end:
    .byte 0
    .section .note.GNU-stack,"",@progbits
