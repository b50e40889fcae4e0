#include "server/config.h"
#include "server/privileges.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/limits.h"
#include "core/network_settings.h"
#include "core/strbuf.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <string.h>

/* All that is wrong, one line each, and the code of the first. */
struct faults {
    struct strbuf lines;
    enum error_code code;
    size_t count;
    bool oom;
};

static void __attribute__((format(printf, 3, 4))) add_fault(struct faults *f, enum error_code code, const char *fmt, ...)
{
    char text[ERROR_MESSAGE_MAX / 2];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    strbuf_addf(&f->lines, "%s%s", f->count > 0 ? "\n" : "", text);
    f->code = f->count == 0 ? code : ERR_INVALID_CONFIG;
    f->count++;
}

static char *copy(struct faults *f, const char *text)
{
    char *s = strdup(text != NULL ? text : "");
    f->oom = f->oom || s == NULL;
    return s;
}

static bool has_dotdot(const char *path)
{
    for (const char *p = path; (p = strstr(p, "..")) != NULL; p += 2) {
        if ((p == path || p[-1] == '/') && (p[2] == '/' || p[2] == '\0')) {
            return true;
        }
    }
    return false;
}

static bool check_path(struct faults *f, const char *key, const char *path)
{
    if (path[0] != '/' || has_dotdot(path)) {
        add_fault(f, ERR_INVALID_CONFIG, "%s: '%.256s' must be an absolute path without '..'", key, path);
        return false;
    }
    return true;
}

/* A directory that the daemon makes and owns, so not "/". */
static char *get_directory(struct faults *f, const json_t *object, const char *name, const char *key)
{
    char *path = copy(f, json_get_string(object, name));
    if (path != NULL && check_path(f, key, path) && path[strspn(path, "/")] == '\0') {
        add_fault(f, ERR_INVALID_CONFIG, "%s: must not be the root directory", key);
    }
    return path;
}

/* An absolute path, or a plain name that is looked up in PATH. */
static char *get_program(struct faults *f, const json_t *object, const char *name, const char *key)
{
    char *path = copy(f, json_get_string(object, name));
    if (path != NULL && strchr(path, '/') != NULL) {
        (void)check_path(f, key, path);
    }
    return path;
}

static unsigned get_unsigned(const json_t *object, const char *name)
{
    return (unsigned)json_get_int(object, name, 0);
}

static bool parse_port(const char *text, uint16_t *ret)
{
    size_t len = strlen(text);
    if (len < 1 || len > 5 || strspn(text, "0123456789") != len || text[0] == '0') {
        return false;
    }
    unsigned long port = strtoul(text, NULL, 10);
    *ret = (uint16_t)port;
    return port <= UINT16_MAX;
}

/* "127.0.0.1:7070". Plain HTTP has no secrets and no client identity, so it never leaves the host. */
static void parse_tcp(struct faults *f, const char *text, struct config_listen *where)
{
    char address[IPV4_TEXT_MAX] = "";
    const char *colon = strrchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;
    where->is_tcp = true;
    if (len > 0 && len < sizeof address) {
        memcpy(address, text, len);
    }
    if (colon == NULL || !ipv4_parse(address, &where->address)) {
        add_fault(f, ERR_INVALID_CONFIG,
                  "listen: '%.256s' is neither the absolute path of a unix socket nor 127.x.y.z:PORT "
                  "(any other address would need TLS, which this daemon does not offer)",
                  text);
    } else if (where->address >> 24 != 127) {
        add_fault(f, ERR_INVALID_CONFIG,
                  "listen: '%.256s' is not a loopback address; plain HTTP is served on 127.x.y.z only, "
                  "any other address needs TLS, which this daemon does not offer",
                  text);
    } else if (!parse_port(colon + 1, &where->port)) {
        add_fault(f, ERR_INVALID_CONFIG, "listen: '%.256s' must end in a port from 1 to 65535", text);
    }
}

static void parse_listen(struct faults *f, const char *text, struct config_listen *where)
{
    if (text[0] != '/') {
        parse_tcp(f, text, where);
        return;
    }
    where->path = copy(f, text);
    if (check_path(f, "listen", text) && strlen(text) >= LIMIT_SOCKET_PATH_BYTES) {
        add_fault(f, ERR_INVALID_CONFIG, "listen: '%.256s' is longer than the %d bytes of a socket path", text, LIMIT_SOCKET_PATH_BYTES - 1);
    }
}

static void fill_listen(struct faults *f, const json_t *list, struct config *config)
{
    size_t count = json_array_size(list);
    config->listen = calloc(count > 0 ? count : 1, sizeof *config->listen);
    if (config->listen == NULL) {
        f->oom = true;
        return;
    }
    if (count == 0 && config->run_dir != NULL) {
        AUTO_STRBUF path = STRBUF_INIT;
        strbuf_addf(&path, "%s/api.sock", config->run_dir);
        f->oom = f->oom || path.failed;
        config->listen_count = 1;
        if (!path.failed) {
            parse_listen(f, path.data, &config->listen[0]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        config->listen_count++;
        parse_listen(f, text != NULL ? text : "", &config->listen[i]);
        for (size_t k = 0; k < i; k++) {
            if (text != NULL && json_equal(json_array_get(list, i), json_array_get(list, k))) {
                add_fault(f, ERR_INVALID_CONFIG, "listen: '%.256s' is listed twice", text);
            }
        }
    }
}

static void check_interface(struct faults *f, const char *key, const char *name)
{
    struct error err;
    if (interface_name_check(name, &err) < 0) {
        add_fault(f, err.code, "%s: %s", key, err.message);
    }
}

/* Which of them are the host's is not known here. An IPv6 one that could open nothing is a mistake, and said to be one. */
static void fill_allowed_networks(struct faults *f, const json_t *list, bool ipv6, struct config *config)
{
    const size_t count = json_array_size(list);
    config->network.allow_host_networks = calloc(count + 1, sizeof *config->network.allow_host_networks);
    if (config->network.allow_host_networks == NULL) {
        f->oom = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct error err;
        struct ip_net net;
        const char *text = json_string_value(json_array_get(list, i));
        if (ip_net_parse(text != NULL ? text : "", ERR_INVALID_CONFIG, &net, &err) < 0) {
            add_fault(f, ERR_INVALID_CONFIG, "network.allow_host_networks: %s", err.message);
        } else if (net.address.version == IP_V6 && !ipv6) {
            add_fault(f, ERR_INVALID_CONFIG, "network.allow_host_networks: '%.64s' needs network.ipv6_subnet; guests have no IPv6 without it", text);
        } else {
            config->network.allow_host_networks[config->network.allow_host_network_count++] = net;
        }
    }
}

static void fill_open_ports(struct faults *f, const json_t *list, struct config *config)
{
    const size_t count = json_array_size(list);
    config->network.open_host_ports = calloc(count + 1, sizeof *config->network.open_host_ports);
    if (config->network.open_host_ports == NULL) {
        f->oom = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        const char *protocol = json_get_string(item, "protocol");
        const struct config_port port = {
            .protocol = protocol != NULL && strcmp(protocol, "udp") == 0 ? IPPROTO_UDP : IPPROTO_TCP,
            .port = (uint16_t)json_get_int(item, "port", 0),
        };
        for (size_t k = 0; k < i; k++) {
            if (json_equal(item, json_array_get(list, k))) {
                add_fault(f, ERR_INVALID_CONFIG, "network.open_host_ports: %s port %u is listed twice", protocol, port.port);
            }
        }
        config->network.open_host_ports[config->network.open_host_port_count++] = port;
    }
}

/* Ports that are left to the daemon lie below those that Linux gives to clients (ip_local_port_range), where the range allows it. */
enum { CHOSEN_FIRST = 30000, CHOSEN_LAST = 32767 };

static void fill_published(struct faults *f, const json_t *object, bool ipv6, struct config *config)
{
    const char *address = json_get_string(object, "address");
    const unsigned first = get_unsigned(object, "first");
    const unsigned last = get_unsigned(object, "last");
    const bool meets = first <= CHOSEN_LAST && last >= CHOSEN_FIRST;
    if (first > last) {
        add_fault(f, ERR_INVALID_CONFIG, "network.published_ports: first is %u, which is after last, %u", first, last);
    }
    if (address != NULL && !ip_addr_parse(address, &config->network.published.address)) {
        add_fault(f, ERR_INVALID_CONFIG, "network.published_ports.address: '%.64s' is no IPv4 or IPv6 address", address);
    } else if (config->network.published.address.version == IP_V6 && !ipv6) {
        add_fault(f, ERR_INVALID_CONFIG, "network.published_ports.address: '%.64s' needs network.ipv6_subnet; guests have no IPv6 without it", address);
    }
    config->network.published.first = (uint16_t)first;
    config->network.published.last = (uint16_t)last;
    config->network.published.chosen_first = (uint16_t)(meets && first < CHOSEN_FIRST ? CHOSEN_FIRST : first);
    config->network.published.chosen_last = (uint16_t)(meets && last > CHOSEN_LAST ? CHOSEN_LAST : last);
}

static void fill_network(struct faults *f, const json_t *object, struct config *config)
{
    struct error err;
    const char *uplink = json_get_string(object, "uplink");
    const char *subnet = json_get_string(object, "subnet");
    const char *subnet6 = json_get_string(object, "ipv6_subnet");
    config->network.bridge = copy(f, json_get_string(object, "bridge"));
    config->network.masquerade = json_get_bool(object, "masquerade", true);
    config->network.lease_quarantine_s = get_unsigned(object, "lease_quarantine_s");
    config->network.sweep_s = get_unsigned(object, "sweep_s");
    config->network.max_flows_per_vm = get_unsigned(object, "max_flows_per_vm");
    config->network.wireguard_lookup_s = get_unsigned(object, "wireguard_lookup_s");
    config->network.wireguard_go = get_program(f, object, "wireguard_go", "network.wireguard_go");
    fill_allowed_networks(f, json_object_get(object, "allow_host_networks"), subnet6 != NULL, config);
    fill_open_ports(f, json_object_get(object, "open_host_ports"), config);
    fill_published(f, json_object_get(object, "published_ports"), subnet6 != NULL, config);
    if (config->network.bridge != NULL) {
        check_interface(f, "network.bridge", config->network.bridge);
    }
    if (uplink != NULL) {
        config->network.uplink = copy(f, uplink);
        check_interface(f, "network.uplink", uplink);
    }
    if (network_subnet_parse(subnet != NULL ? subnet : "", &config->network.subnet, &err) < 0) {
        add_fault(f, err.code, "network.subnet: %s", err.message);
    } else if (subnet6 != NULL && network_subnet6_parse(subnet6, config->network.subnet, &config->network.ipv6_subnet, &err) < 0) {
        add_fault(f, err.code, "network.ipv6_subnet: %s", err.message);
    }
}

static void fill_images(struct faults *f, const json_t *object, struct config *config)
{
    const json_t *roots = json_object_get(object, "allowed_roots");
    size_t count = json_array_size(roots);
    config->images.max_file_bytes = (uint64_t)json_get_int(object, "max_file_bytes", 0);
    config->images.allowed_roots = calloc(count > 0 ? count : 1, sizeof(char *));
    if (config->images.allowed_roots == NULL) {
        f->oom = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        char *root = copy(f, json_string_value(json_array_get(roots, i)));
        config->images.allowed_roots[config->images.allowed_root_count++] = root;
        if (root != NULL) {
            (void)check_path(f, "images.allowed_roots", root);
        }
    }
}

static enum config_requirement get_requirement(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_boolean(value)) {
        return CONFIG_WHERE_POSSIBLE;
    }
    return json_is_true(value) ? CONFIG_REQUIRED : CONFIG_NOT_REQUIRED;
}

/* -1 and -2 are no uids, but words of system calls; 0 is root's. */
static void fill_uids(struct faults *f, const json_t *object, struct config *config)
{
    config->vmm.uid_first = (uint32_t)json_get_int(object, "uid_first", 0);
    config->vmm.uid_count = (uint32_t)json_get_int(object, "uid_count", 0);
    if (INSPECTOR_UID >= config->vmm.uid_first && INSPECTOR_UID - config->vmm.uid_first < config->vmm.uid_count) {
        add_fault(f, ERR_INVALID_CONFIG, "vmm.uid_first: uid %u is that of the process that looks at images", INSPECTOR_UID);
    }
    if ((uint64_t)config->vmm.uid_first + config->vmm.uid_count > UINT32_MAX - 1) {
        add_fault(f, ERR_INVALID_CONFIG, "vmm.uid_first: uids end with %u", UINT32_MAX - 2);
    }
}

static void fill_vmm(struct faults *f, const json_t *object, struct config *config)
{
    config->vmm.jailer = get_program(f, object, "jailer", "vmm.jailer");
    config->vmm.require_jail = get_requirement(object, "require_jail");
    config->vmm.require_limits = get_requirement(object, "require_limits");
    config->vmm.allow_known_faults = json_get_bool(object, "allow_known_faults", true);
    fill_uids(f, object, config);
    config->vmm.firecracker = get_program(f, object, "firecracker", "vmm.firecracker");
    config->vmm.qemu = get_program(f, object, "qemu", "vmm.qemu");
    config->vmm.start_timeout_s = get_unsigned(object, "start_timeout_s");
    config->vmm.stop_timeout_s = get_unsigned(object, "stop_timeout_s");
    config->vmm.api_timeout_s = get_unsigned(object, "api_timeout_s");
    config->vmm.workers = get_unsigned(object, "workers");
    config->vmm.console_bytes = (uint64_t)json_get_int(object, "console_bytes", 0);
    config->vmm.stage_dir = copy(f, json_get_string(object, "stage_dir"));
    if (config->vmm.stage_dir != NULL && config->vmm.stage_dir[0] != '\0') {
        (void)check_path(f, "vmm.stage_dir", config->vmm.stage_dir);
    }
}

static void fill_http(const json_t *object, struct config *config)
{
    config->http.max_connections = get_unsigned(object, "max_connections");
    config->http.max_connections_per_peer = get_unsigned(object, "max_connections_per_peer");
    config->http.head_timeout_s = get_unsigned(object, "head_timeout_s");
    config->http.body_timeout_s = get_unsigned(object, "body_timeout_s");
}

static void fill_capacity(const json_t *object, struct config *config)
{
    config->capacity.memory_mib = json_get_int(object, "memory_mib", 0);
    config->capacity.vcpu_factor = json_number_value(json_object_get(object, "vcpu_factor"));
}

static void fill_log(const json_t *object, struct config *config)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    const char *level = json_get_string(object, "level");
    config->log.level = LOG_INFO;
    for (size_t i = 0; level != NULL && i < ARRAY_LEN(names); i++) {
        if (strcmp(level, names[i]) == 0) {
            config->log.level = (enum log_level)i;
        }
    }
}

int config_fill(const json_t *document, struct config **ret, struct error *err)
{
    struct faults f = {.lines = STRBUF_INIT};
    struct config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return error_oom(err);
    }
    config->state_dir = get_directory(&f, document, "state_dir", "state_dir");
    config->run_dir = get_directory(&f, document, "run_dir", "run_dir");
    config->user = copy(&f, json_get_string(document, "user"));
    fill_listen(&f, json_object_get(document, "listen"), config);
    fill_network(&f, json_object_get(document, "network"), config);
    fill_images(&f, json_object_get(document, "images"), config);
    fill_vmm(&f, json_object_get(document, "vmm"), config);
    fill_http(json_object_get(document, "http"), config);
    fill_capacity(json_object_get(document, "capacity"), config);
    fill_log(json_object_get(document, "log"), config);

    int r = 0;
    if (f.oom || f.lines.failed) {
        r = error_oom(err);
    } else if (f.count > 0) {
        r = error_set(err, f.code, "%s", f.lines.data);
    }
    strbuf_free(&f.lines);
    if (r < 0) {
        config_free(config);
        return -1;
    }
    *ret = config;
    return 0;
}
