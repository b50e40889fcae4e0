/* The configuration: what is accepted, what is refused and in which words, against the real openapi.yaml. */
#include "core/cleanup.h"
#include "core/limits.h"
#include "core/strbuf.h"
#include "server/config.h"
#include "server/openapi_data.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct spec *spec;
static struct config *config;
static struct error err;
static char path[64];

static void set_up(void)
{
    size_t len = openapi_yaml_len;
    ck_assert_msg(spec_load(openapi_yaml_begin, len, &spec, &err) == 0, "%s", err.message);
    config = NULL;
    (void)strcpy(path, "/tmp/config-test-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    (void)close(fd);
}

static void tear_down(void)
{
    config_free(config);
    spec_free(spec);
    (void)unlink(path);
}

static int load_text(const char *text, size_t len)
{
    FILE *f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, len, f), len);
    (void)fclose(f);
    return config_load(spec, path, NULL, 0, &config, &err);
}

static int load_sets(const char *const *sets, size_t count)
{
    return config_load(spec, NULL, sets, count, &config, &err);
}

START_TEST(test_defaults)
{
    ck_assert_msg(load_sets(NULL, 0) == 0, "%s", err.message);
    ck_assert_str_eq(config->state_dir, "/var/lib/smartvm");
    ck_assert_str_eq(config->run_dir, "/run/smartvm");
    ck_assert_str_eq(config->user, "smartvm");
    ck_assert_uint_eq(config->listen_count, 1);
    ck_assert_str_eq(config->listen[0].path, "/run/smartvm/api.sock");
    ck_assert(!config->listen[0].is_tcp);
    ck_assert_str_eq(config->network.bridge, "svbr0");
    ck_assert_uint_eq(config->network.subnet.address, 0xac1e0000);
    ck_assert_uint_eq(config->network.subnet.prefix, 24);
    ck_assert_ptr_null(config->network.uplink);
    ck_assert(config->network.masquerade);
    ck_assert_uint_eq(config->network.lease_quarantine_s, 10);
    ck_assert_uint_eq(config->network.sweep_s, 300);
    ck_assert_uint_eq(config->network.max_flows_per_vm, 4096);
    ck_assert_uint_eq(config->network.allow_host_network_count, 0);
    ck_assert_uint_eq(config->network.open_host_port_count, 0);
    ck_assert_uint_eq(config->images.allowed_root_count, 1);
    ck_assert_str_eq(config->vmm.firecracker, "firecracker");
    ck_assert_str_eq(config->vmm.stage_dir, "");
    ck_assert_uint_eq(config->vmm.workers, 8);
    ck_assert_uint_eq(config->vmm.console_bytes, 262144);
    ck_assert(config->network.published.address.version == IP_NONE && config->network.published.first == 1024 && config->network.published.last == 65535);
    ck_assert(config->network.published.chosen_first == 30000 && config->network.published.chosen_last == 32767);
    ck_assert(config->capacity.memory_mib == 0 && config->capacity.vcpu_factor == 16.0);
    ck_assert_int_eq(config->log.level, LOG_INFO);
    ck_assert(config->http.max_connections == 4096 && config->http.max_connections_per_peer == 1024 && config->http.head_timeout_s == 60 &&
              config->http.body_timeout_s == 60);
}
END_TEST

static const char *const blank[] = {"", "\n\n", "# nothing but a comment\n", "  # a\n\t\n# b"};

START_TEST(test_blank_file)
{
    ck_assert_msg(load_text(blank[_i], strlen(blank[_i])) == 0, "%s", err.message);
    ck_assert_str_eq(config->network.bridge, "svbr0");
}
END_TEST

static const char whole[] = "state_dir: /srv/state\n"
                            "run_dir: /run/sv\n"
                            "user: nobody\n"
                            "listen: [/run/sv/a.sock, '127.0.0.1:7070', '127.255.0.9:65535']\n"
                            "network:\n"
                            "  bridge: br-vm\n"
                            "  subnet: 10.64.0.0/10\n"
                            "  uplink: eth0\n"
                            "  masquerade: false\n"
                            "  lease_quarantine_s: 0\n"
                            "  ipv6_subnet: 'fd00:5a::/64'\n"
                            "  allow_host_networks: [192.168.1.0/24, 'fd00:9::/48', '2001:db8::7']\n"
                            "  published_ports: {address: 192.0.2.7, first: 8000, last: 31000}\n"
                            "images:\n"
                            "  allowed_roots: [/srv/a, /srv/b]\n"
                            "  max_file_bytes: 1099511627776\n"
                            "vmm:\n"
                            "  firecracker: /opt/fc/firecracker\n"
                            "  stop_timeout_s: 0\n"
                            "  workers: 64\n"
                            "  stage_dir: /mnt/stage\n"
                            "capacity: {memory_mib: 8192, vcpu_factor: 1.5}\n"
                            "log: {level: debug}\n";

static void check_whole(void)
{
    ck_assert_str_eq(config->state_dir, "/srv/state");
    ck_assert_uint_eq(config->listen_count, 3);
    ck_assert_str_eq(config->listen[0].path, "/run/sv/a.sock");
    ck_assert(config->listen[1].is_tcp && config->listen[2].is_tcp);
    ck_assert_uint_eq(config->listen[1].address, 0x7f000001);
    ck_assert_uint_eq(config->listen[1].port, 7070);
    ck_assert_uint_eq(config->listen[2].port, 65535);
    ck_assert_str_eq(config->network.bridge, "br-vm");
    ck_assert_uint_eq(config->network.subnet.prefix, 10);
    ck_assert_str_eq(config->network.uplink, "eth0");
    ck_assert(!config->network.masquerade);
    ck_assert_uint_eq(config->network.lease_quarantine_s, 0);
    const struct ip_net *networks = config->network.allow_host_networks;
    ck_assert_uint_eq(config->network.allow_host_network_count, 3);
    ck_assert(networks[0].address.version == IP_V4 && networks[0].prefix == 24);
    ck_assert(networks[1].address.version == IP_V6 && networks[1].prefix == 48 && networks[1].address.bytes[0] == 0xfd);
    ck_assert(networks[2].address.version == IP_V6 && networks[2].prefix == 128 && networks[2].address.bytes[15] == 7);
    ck_assert_uint_eq(config->images.allowed_root_count, 2);
    ck_assert_str_eq(config->images.allowed_roots[1], "/srv/b");
    ck_assert(config->images.max_file_bytes == 1099511627776U);
    ck_assert_str_eq(config->vmm.firecracker, "/opt/fc/firecracker");
    ck_assert_str_eq(config->vmm.qemu, "qemu-system-x86_64");
    ck_assert_uint_eq(config->vmm.stop_timeout_s, 0);
    ck_assert_uint_eq(config->vmm.workers, 64);
    ck_assert_str_eq(config->vmm.stage_dir, "/mnt/stage");
    ck_assert(config->network.published.address.bytes[3] == 7 && config->network.published.first == 8000 && config->network.published.last == 31000);
    ck_assert(config->network.published.chosen_first == 30000 && config->network.published.chosen_last == 31000);
    ck_assert(config->capacity.memory_mib == 8192 && config->capacity.vcpu_factor == 1.5);
    ck_assert_int_eq(config->log.level, LOG_DEBUG);
}

START_TEST(test_whole_file)
{
    ck_assert_msg(load_text(whole, strlen(whole)) == 0, "%s", err.message);
    check_whole();
}
END_TEST

START_TEST(test_json_round_trip)
{
    ck_assert_int_eq(load_text(whole, strlen(whole)), 0);
    char *text = config_to_json(config);
    ck_assert_ptr_nonnull(text);
    config_free(config);
    config = NULL;
    ck_assert_msg(config_from_json(text, strlen(text), &config, &err) == 0, "%s", err.message);
    check_whole();
    char *again = config_to_json(config);
    ck_assert_str_eq(again, text);
    free(again);
    free(text);
}
END_TEST

START_TEST(test_sets_override_the_file)
{
    const char *const sets[] = {"network.bridge=br7", "network.bridge=br8",  "listen=[/run/x.sock]",   "images.allowed_roots=[\"/srv/img\"]",
                                "vmm.stage_dir=",     "network.uplink=null", "network.masquerade=true"};
    ck_assert_int_eq(load_text(whole, strlen(whole)), 0);
    config_free(config);
    config = NULL;
    ck_assert_msg(config_load(spec, path, sets, 7, &config, &err) == 0, "%s", err.message);
    ck_assert_str_eq(config->network.bridge, "br8");
    ck_assert_uint_eq(config->listen_count, 1);
    ck_assert_str_eq(config->images.allowed_roots[0], "/srv/img");
    ck_assert_str_eq(config->vmm.stage_dir, "");
    ck_assert_ptr_null(config->network.uplink);
    ck_assert(config->network.masquerade);
    ck_assert_uint_eq(config->network.subnet.prefix, 10); /* the file's others stay */
}
END_TEST

/* Those that are left to the daemon, of a range that has none of its own. */
START_TEST(test_chosen_ports)
{
    const char *const sets[] = {"network.published_ports={first: 40000, last: 50000}"};
    ck_assert_msg(load_sets(sets, 1) == 0, "%s", err.message);
    ck_assert(config->network.published.chosen_first == 40000 && config->network.published.chosen_last == 50000);
}
END_TEST

static const struct {
    const char *set;
    enum error_code code;
    const char *words;
} refused[] = {
    {"nonsense=1", ERR_INVALID_CONFIG, "nonsense"},
    {"network.nonsense=1", ERR_INVALID_CONFIG, "network.nonsense"},
    {"state_dir", ERR_INVALID_CONFIG, "key.path=value"},
    {"=x", ERR_INVALID_CONFIG, "key.path=value"},
    {"network..bridge=x", ERR_INVALID_CONFIG, "key is empty"},
    {"network.=x", ERR_INVALID_CONFIG, "key is empty"},
    {"user.name=x", ERR_INVALID_CONFIG, "user"},
    {"network=[", ERR_INVALID_CONFIG, "--set network=["},
    {"network.published_ports={first: 0}", ERR_INVALID_CONFIG, "network.published_ports.first"},
    {"network.published_ports={last: 65536}", ERR_INVALID_CONFIG, "network.published_ports.last"},
    {"network.published_ports={first: 9, last: 8}", ERR_INVALID_CONFIG, "network.published_ports: first is 9, which is after last, 8"},
    {"network.published_ports={address: here}", ERR_INVALID_CONFIG, "network.published_ports.address: 'here'"},
    {"network.published_ports={address: '2001:db8::1'}", ERR_INVALID_CONFIG, "needs network.ipv6_subnet"},
    {"capacity.memory_mib=0", ERR_INVALID_CONFIG, "capacity.memory_mib"},
    {"capacity.memory_mib=1099511627777", ERR_INVALID_CONFIG, "capacity.memory_mib"},
    {"capacity.vcpu_factor=0", ERR_INVALID_CONFIG, "capacity.vcpu_factor"},
    {"capacity.vcpu_factor=10001", ERR_INVALID_CONFIG, "capacity.vcpu_factor"},
    {"state_dir=relative", ERR_INVALID_CONFIG, "state_dir: 'relative' must be an absolute path"},
    {"state_dir=/a/../b", ERR_INVALID_CONFIG, "without '..'"},
    {"state_dir=/", ERR_INVALID_CONFIG, "root directory"},
    {"run_dir=/run/..", ERR_INVALID_CONFIG, "run_dir"},
    {"run_dir=/run/0123456789012345678901234567890", ERR_INVALID_CONFIG, "run_dir"},
    {"listen=[relative.sock]", ERR_INVALID_CONFIG, "listen: 'relative.sock'"},
    {"listen=['0.0.0.0:80']", ERR_INVALID_CONFIG, "needs TLS"},
    {"listen=['192.168.1.1:80']", ERR_INVALID_CONFIG, "needs TLS"},
    {"listen=['[::1]:80']", ERR_INVALID_CONFIG, "TLS"},
    {"listen=['localhost:80']", ERR_INVALID_CONFIG, "TLS"},
    {"listen=['127.0.0.1']", ERR_INVALID_CONFIG, "listen"},
    {"listen=['127.0.0.1:0']", ERR_INVALID_CONFIG, "port"},
    {"listen=['127.0.0.1:65536']", ERR_INVALID_CONFIG, "port"},
    {"listen=['127.0.0.1:']", ERR_INVALID_CONFIG, "port"},
    {"listen=['127.0.0.1:8x']", ERR_INVALID_CONFIG, "port"},
    {"listen=[/run/a, /run/a]", ERR_INVALID_CONFIG, "twice"},
    {"listen=[1]", ERR_INVALID_CONFIG, "listen.0"},
    {"network.bridge=all", ERR_INVALID_INTERFACE_NAME, "network.bridge"},
    {"network.bridge='a b'", ERR_INVALID_INTERFACE_NAME, "white space"},
    {"network.uplink=a/b", ERR_INVALID_INTERFACE_NAME, "network.uplink"},
    {"network.subnet=10.0.0.1/24", ERR_INVALID_SUBNET, "10.0.0.0/24"},
    {"network.subnet=10.0.0.0/31", ERR_INVALID_SUBNET, "from 1 to 30"},
    {"network.subnet=0.0.0.0/0", ERR_INVALID_SUBNET, "from 1 to 30"},
    {"network.subnet=not-a-net", ERR_INVALID_SUBNET, "network.subnet"},
    {"network.masquerade=yes", ERR_INVALID_CONFIG, "network.masquerade"},
    {"network.sweep_s=0", ERR_INVALID_CONFIG, "network.sweep_s"},
    {"network.sweep_s=86401", ERR_INVALID_CONFIG, "network.sweep_s"},
    {"network.lease_quarantine_s=-1", ERR_INVALID_CONFIG, "network.lease_quarantine_s"},
    {"network.max_flows_per_vm=15", ERR_INVALID_CONFIG, "network.max_flows_per_vm"},
    {"network.max_flows_per_vm=1000001", ERR_INVALID_CONFIG, "network.max_flows_per_vm"},
    {"network.allow_host_networks=10.0.0.0/8", ERR_INVALID_CONFIG, "network.allow_host_networks"},
    {"network.allow_host_networks=[10.0.0.1/8]", ERR_INVALID_CONFIG, "network.allow_host_networks: "},
    {"network.allow_host_networks=[10.0.0.0/33]", ERR_INVALID_CONFIG, "network.allow_host_networks"},
    {"network.allow_host_networks=['2001:db8::/32']", ERR_INVALID_CONFIG, "network.allow_host_networks: '2001:db8::/32' needs network.ipv6_subnet"},
    {"network.allow_host_networks=['2001:db8::1/32']", ERR_INVALID_CONFIG, "network is 2001:db8::/32"},
    {"network.allow_host_networks=['::ffff:10.0.0.0/104']", ERR_INVALID_CONFIG, "write it as IPv4"},
    {"network.open_host_ports=[80]", ERR_INVALID_CONFIG, "network.open_host_ports.0"},
    {"network.open_host_ports=[{port: 80}]", ERR_INVALID_CONFIG, "network.open_host_ports.0"},
    {"network.open_host_ports=[{protocol: icmp, port: 80}]", ERR_INVALID_CONFIG, "network.open_host_ports.0.protocol"},
    {"network.open_host_ports=[{protocol: tcp, port: 0}]", ERR_INVALID_CONFIG, "network.open_host_ports.0.port"},
    {"network.open_host_ports=[{protocol: tcp, port: 65536}]", ERR_INVALID_CONFIG, "network.open_host_ports.0.port"},
    {"network.open_host_ports=[{protocol: tcp, port: 80, name: x}]", ERR_INVALID_CONFIG, "network.open_host_ports.0.name"},
    {"network.open_host_ports=[{protocol: tcp, port: 80}, {protocol: tcp, port: 80}]", ERR_INVALID_CONFIG, "tcp port 80 is listed twice"},
    {"images.allowed_roots=[srv]", ERR_INVALID_CONFIG, "images.allowed_roots"},
    {"images.max_file_bytes=1", ERR_INVALID_CONFIG, "images.max_file_bytes"},
    {"vmm.firecracker=./firecracker", ERR_INVALID_CONFIG, "vmm.firecracker"},
    {"vmm.stage_dir=dev/shm", ERR_INVALID_CONFIG, "vmm.stage_dir"},
    {"vmm.workers=65", ERR_INVALID_CONFIG, "vmm.workers"},
    {"vmm.workers=2.5", ERR_INVALID_CONFIG, "vmm.workers"},
    {"log.level=loud", ERR_INVALID_CONFIG, "log.level"},
    {"http.max_connections=63", ERR_INVALID_CONFIG, "http.max_connections"},
    {"http.max_connections=60001", ERR_INVALID_CONFIG, "http.max_connections"},
    {"http.max_connections_per_peer=0", ERR_INVALID_CONFIG, "http.max_connections_per_peer"},
    {"http.max_connections_per_peer=60001", ERR_INVALID_CONFIG, "http.max_connections_per_peer"},
    {"http.head_timeout_s=0", ERR_INVALID_CONFIG, "http.head_timeout_s"},
    {"http.head_timeout_s=3601", ERR_INVALID_CONFIG, "http.head_timeout_s"},
    {"http.body_timeout_s=0", ERR_INVALID_CONFIG, "http.body_timeout_s"},
    {"http.body_timeout_s=3601", ERR_INVALID_CONFIG, "http.body_timeout_s"},
};

/* One item more than a list may have. */
START_TEST(test_lists_that_are_too_long)
{
    static const struct {
        const char *key, *item;
    } lists[] = {{"network.allow_host_networks", "10.%d.0.0/16"}, {"network.open_host_ports", "{protocol: tcp, port: 1%d}"}};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        for (size_t count = 64; count <= 65; count++) {
            AUTO_STRBUF text = STRBUF_INIT;
            strbuf_addf(&text, "%s=[", lists[i].key);
            for (size_t k = 0; k < count; k++) {
                char number[8];
                const char *hole = strstr(lists[i].item, "%d");
                (void)snprintf(number, sizeof number, "%zu", k);
                strbuf_add(&text, k > 0 ? ", " : "");
                strbuf_add_bytes(&text, lists[i].item, (size_t)(hole - lists[i].item));
                strbuf_add(&text, number);
                strbuf_add(&text, hole + 2);
            }
            strbuf_add(&text, "]");
            const char *const sets[] = {text.data};
            ck_assert_msg((load_sets(sets, 1) == 0) == (count == 64), "%s of %zu: %s", lists[i].key, count, err.message);
            config_free(config);
            config = NULL;
        }
    }
}
END_TEST

START_TEST(test_refused_values)
{
    const char *const sets[] = {refused[_i].set};
    ck_assert_msg(load_sets(sets, 1) == -1, "'%s' was accepted", sets[0]);
    ck_assert_ptr_null(config);
    ck_assert_msg(err.code == refused[_i].code, "%s: %s", error_code_name(err.code), err.message);
    ck_assert_msg(strstr(err.message, refused[_i].words) != NULL, "%s", err.message);
}
END_TEST

static const char *const accepted[] = {
    "network.subnet=128.0.0.0/1",
    "network.subnet=10.0.0.4/30",
    "network.max_flows_per_vm=16",
    "network.max_flows_per_vm=1000000",
    "network.allow_host_networks=[]",
    "network.allow_host_networks=[0.0.0.0/0, 192.0.2.9/32]",
    "network={ipv6_subnet: 'fd00:5a::/64', allow_host_networks: [192.0.2.0/24, '2001:db8::/32', 'fd00:9::1']}",
    "network.open_host_ports=[{protocol: tcp, port: 53}, {protocol: udp, port: 53}]",
    "network.open_host_ports=[{protocol: udp, port: 65535}, {protocol: tcp, port: 1}]",
    "network.bridge=0123456789abcde",
    "state_dir=/a/..b/c..",
    "http={max_connections: 64, max_connections_per_peer: 1, head_timeout_s: 1, body_timeout_s: 1}",
    "http={max_connections: 60000, max_connections_per_peer: 60000, head_timeout_s: 3600, body_timeout_s: 3600}",
    "listen=[]",
    "listen=['127.0.0.1:1']",
    "images.allowed_roots=[]",
    "images.allowed_roots=[/]",
    "vmm.firecracker=firecracker-v1.12.1",
    "run_dir=/run/012345678901234567890123456",
    "user=1000",
};

START_TEST(test_accepted_values)
{
    const char *const sets[] = {accepted[_i]};
    /* "user=1000" is a number in YAML, and a user is a name. */
    bool is_ok = strcmp(sets[0], "user=1000") != 0;
    ck_assert_msg((load_sets(sets, 1) == 0) == is_ok, "'%s': %s", sets[0], err.message);
}
END_TEST

/* All that the schema finds comes at once, and so does all that is found after it. */
START_TEST(test_all_faults_at_once)
{
    static const char *const schema[] = {"nonsense=1", "vmm.workers=0", "log.level=loud"};
    static const char *const semantic[] = {"network.subnet=1.2.3.4/33", "network.bridge=all", "state_dir=x"};
    ck_assert_int_eq(load_sets(schema, 3), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "nonsense"));
    ck_assert_ptr_nonnull(strstr(err.message, "vmm.workers"));
    ck_assert_ptr_nonnull(strstr(err.message, "log.level"));
    ck_assert_int_eq(load_sets(semantic, 3), -1);
    ck_assert_int_eq(err.code, ERR_INVALID_CONFIG);
    size_t lines = 1;
    for (const char *p = err.message; (p = strchr(p, '\n')) != NULL; p++) {
        lines++;
    }
    ck_assert_uint_eq(lines, 3);
}
END_TEST

START_TEST(test_bad_files)
{
    static const char nul[] = "user: a\0b\n";
    ck_assert_int_eq(config_load(spec, "/nonexistent/smartvmd.yaml", NULL, 0, &config, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "/nonexistent/smartvmd.yaml"));
    ck_assert_int_eq(config_load(spec, "/tmp", NULL, 0, &config, &err), -1);
    ck_assert_int_eq(load_text("user: [", 7), -1);
    ck_assert_ptr_nonnull(strstr(err.message, path));
    ck_assert_int_eq(load_text("- a\n", 4), -1);
    ck_assert_int_eq(load_text(nul, sizeof nul - 1), -1);
    ck_assert_int_eq(load_text("user: a\nuser: b\n", 16), -1);
    char *large = calloc(1, LIMIT_CONFIG_BYTES + 2);
    memset(large, '#', LIMIT_CONFIG_BYTES + 1);
    ck_assert_int_eq(load_text(large, LIMIT_CONFIG_BYTES), 0);
    config_free(config);
    config = NULL;
    ck_assert_int_eq(load_text(large, LIMIT_CONFIG_BYTES + 1), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "larger than"));
    free(large);
    ck_assert_ptr_null(config);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config");
    TCase *tc = tcase_create("config");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, test_defaults);
    tcase_add_test(tc, test_chosen_ports);
    tcase_add_loop_test(tc, test_blank_file, 0, (int)(sizeof blank / sizeof blank[0]));
    tcase_add_test(tc, test_whole_file);
    tcase_add_test(tc, test_json_round_trip);
    tcase_add_test(tc, test_sets_override_the_file);
    tcase_add_test(tc, test_lists_that_are_too_long);
    tcase_add_loop_test(tc, test_refused_values, 0, (int)(sizeof refused / sizeof refused[0]));
    tcase_add_loop_test(tc, test_accepted_values, 0, (int)(sizeof accepted / sizeof accepted[0]));
    tcase_add_test(tc, test_all_faults_at_once);
    tcase_add_test(tc, test_bad_files);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
