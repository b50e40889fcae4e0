/* openapi.yaml, byte for byte, inside the binary (server/openapi_data.h). */
    .section .rodata
    .global openapi_yaml_begin
    .global openapi_yaml_len
    .balign 8
openapi_yaml_len:
    .quad openapi_yaml_end - openapi_yaml_begin
openapi_yaml_begin:
    .incbin "openapi.yaml"
openapi_yaml_end:
    .byte 0
    .section .note.GNU-stack,"",@progbits
