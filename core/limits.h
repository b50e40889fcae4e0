/* Every maximum of smartvmd that is not part of openapi.yaml. Going over one is an answer, never a truncation. */
#ifndef SMARTVM_CORE_LIMITS_H
#define SMARTVM_CORE_LIMITS_H

enum {
    LIMIT_BODY_BYTES = 256 * 1024,    /* a request body */
    LIMIT_TARGET_BYTES = 4096,        /* path and query of a request */
    LIMIT_HEADER_BYTES = 16 * 1024,   /* all headers of a request */
    LIMIT_HEADERS = 64,               /* header fields of a request */
    LIMIT_PATH_SEGMENTS = 8,          /* of a request path */
    LIMIT_QUERY_PARAMETERS = 16,      /* of a request */
    LIMIT_JSON_DEPTH = 32,            /* nesting of arrays and objects */
    LIMIT_JSON_ERRORS = 32,           /* entries of one problem+json reply */
    LIMIT_CONNECTION_IDLE_S = 60,     /* seconds without a byte on a connection that has no reply pending */
    LIMIT_WAITERS = 4096,             /* requests held by ?wait= */
    LIMIT_WAIT_S = 300,               /* seconds of ?wait= */
    LIMIT_STREAMS = 256,              /* /events and followed consoles at once */
    LIMIT_CONSOLE_INPUT_BYTES = 4096, /* one POST to a console; PIPE_BUF, so it arrives whole or not at all */
    LIMIT_QUESTION_BYTES = 64 * 1024, /* one message between the processes */
    LIMIT_QUESTION_S = 5,             /* seconds until a question counts as unanswered */
    LIMIT_SLOW_QUESTIONS = 32,        /* that wait for the thread that answers them */
    LIMIT_DRIFT_ITEMS = 64,           /* in one report; it has to fit into one message */
    LIMIT_TASKS = 1000,               /* stored; the oldest go first */
    LIMIT_TASK_SUBJECT_BYTES = 136,   /* "image/" and an id, or less */
    LIMIT_IDEMPOTENCY_KEY_BYTES = 255,
    LIMIT_IDEMPOTENCY_KEYS = 100000, /* stored; the oldest go first */
    LIMIT_IDEMPOTENCY_S = 24 * 3600, /* seconds that a key is kept */
    LIMIT_EVENTS = 100000,           /* stored; the oldest go first */
    LIMIT_VMS = 10000,
    LIMIT_IMAGES = 1000,
    REQUEST_TEXT_MAX = 40, /* bytes of a request's id, with the terminator */
    LIMIT_VM_PAGE = 500,   /* rows in one answer of the keeper */
    LIMIT_VM_ID_BYTES = 63,
    LIMIT_VM_UID = 2147483647,                   /* VMs that there ever were; their numbers are parts of names on the host */
    LIMIT_INTERFACES = 8,                        /* of a VM */
    LIMIT_BRIDGE_PORTS = 1023,                   /* the kernel's: BR_MAX_PORTS of net/bridge/br_private.h, and no port has the number 0 */
    LIMIT_PORTS = 64,                            /* published, of a VM: entries */
    LIMIT_PORT_NUMBERS = 1000,                   /* and ports in all of them */
    LIMIT_DRIVES = 8,                            /* of a VM */
    LIMIT_LABELS = 64,                           /* of a VM */
    LIMIT_BOOT_ARGS_BYTES = 2048,                /* the x86 kernel's COMMAND_LINE_SIZE, Documentation/admin-guide/kernel-parameters */
    LIMIT_PATH_BYTES = 4096,                     /* PATH_MAX */
    LIMIT_SOCKET_PATH_BYTES = 108,               /* unix(7) */
    LIMIT_FIREWALL_TEXT_BYTES = 4 * 1024 * 1024, /* a stored policy, or the networks of a set */
    LIMIT_MANIFEST_BYTES = 64 * 1024,
    LIMIT_UNPACKED_BYTES = 512 * 1024 * 1024, /* of a packed kernel or initrd */
    LIMIT_CONFIG_BYTES = 256 * 1024,
    LIMIT_VM_CONFIG_BYTES = 128 * 1024, /* a VM's definition as it is stored: that of the longest request has less, escapes and all */
};

#endif
