/* The definition of a VM: both sides of every rule, all faults at once, the canonical form, what differs. JSON is written with ' for ". */
#include "api/spec/spec.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "core/strbuf.h"
#include "core/vm_config.h"
#include "server/openapi_data.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static json_t *json(const char *text)
{
    json_t *value = NULL;
    struct error err = {0};
    AUTO_FREE char *copy = strdup(text);
    ck_assert_ptr_nonnull(copy);
    for (char *p = copy; *p != '\0'; p++) {
        *p = (char)(*p == '\'' ? '"' : *p);
    }
    // NOLINTNEXTLINE(clang-analyzer-unix.Malloc): freed by its cleanup
    ck_assert_msg(json_parse(copy, strlen(copy), &value, &err) == 0, "%s: %s", text, err.message);
    return value;
}

struct faults {
    struct strbuf text; /* "pointer message;" */
    size_t count;
};

static void note(void *ctx, const char *pointer, const char *message)
{
    struct faults *faults = ctx;
    strbuf_addf(&faults->text, "%s %s;", pointer, message);
    faults->count++;
}

static struct vm_config parsed(const char *text)
{
    struct vm_config config;
    struct error err = {0};
    AUTO_JSON *value = json(text);
    ck_assert_msg(vm_config_parse(value, VM_CONFIG_ASKED, &config, NULL, NULL, &err) == 0, "%s: %s", text, err.message);
    return config;
}

#define NO_LIMITS "'limits':{'cpu_percent':0,'cpu_weight':100,'io':{'read_bytes_per_s':0,'write_bytes_per_s':0,'read_ops_per_s':0,'write_ops_per_s':0}}"

#define DEFAULTS \
    "'machine_config':{'vcpu_count':1,'mem_size_mib':128},'boot_args':'','vmm':'auto','network_interfaces':[],'ports':[],'autostart':false," \
    "'restart_policy':'never','labels':{}," NO_LIMITS

static const struct {
    const char *text, *canonical;
} forms[] = {
    {"{'image':'a'}", "{'image':'a'," DEFAULTS "}"},
    {"{" DEFAULTS ",'image':'a'}", "{'image':'a'," DEFAULTS "}"},
    {"{'image':'A_.-9','machine_config':{'mem_size_mib':1048576.0,'vcpu_count':32}}",
     "{'image':'A_.-9','machine_config':{'vcpu_count':32,'mem_size_mib':1048576},'boot_args':'','vmm':'auto','network_interfaces':[],'ports':[],"
     "'autostart':false,'restart_policy':'never','labels':{}," NO_LIMITS "}"},
    {"{'image':'a','network_interfaces':[{'iface_id':'eth0'},{'iface_id':'1_'}],'boot_args':'a b','vmm':'qemu','autostart':true,'restart_policy':'on-failure',"
     "'labels':{'a/b.c':''},'ports':[{'host_port':0,'guest_port':80},{'host_ip':'2001:DB8::1','host_port':65000,'guest_port':1,'count':536,'protocol':'udp'}]}",
     "{'image':'a','machine_config':{'vcpu_count':1,'mem_size_mib':128},'boot_args':'a b','vmm':'qemu','network_interfaces':[{'iface_id':'eth0'},"
     "{'iface_id':'1_'}],'ports':[{'host_ip':'0.0.0.0','host_port':0,'guest_port':80,'count':1,'protocol':'tcp'},{'host_ip':'2001:db8::1','host_port':65000,"
     "'guest_port':1,'count':536,'protocol':'udp'}],'autostart':true,'restart_policy':'on-failure','labels':{'a/b.c':''}," NO_LIMITS "}"},
    {"{'image':'a','limits':{'cpu_percent':100000,'cpu_weight':1,'io':{'write_bytes_per_s':1099511627776,'read_ops_per_s':1000000000}}}",
     "{'image':'a','machine_config':{'vcpu_count':1,'mem_size_mib':128},'boot_args':'','vmm':'auto','network_interfaces':[],'ports':[],'autostart':false,'"
     "restart_policy':'never','labels':{},"
     "'limits':{'cpu_percent':100000,'cpu_weight':1,'io':{'read_bytes_per_s':0,'write_bytes_per_s':1099511627776,'read_ops_per_s':1000000000,'write_ops_per_s':"
     "0}}}"},
};

START_TEST(canonical_form)
{
    AUTO_VM_CONFIG config = parsed(forms[_i].text);
    AUTO_JSON *shown = vm_config_to_json(&config);
    AUTO_FREE char *text = json_text(shown);
    AUTO_JSON *wanted = json(forms[_i].canonical);
    AUTO_FREE char *wanted_text = json_text(wanted);
    ck_assert_str_eq(text, wanted_text);
    AUTO_VM_CONFIG again = {.image = NULL};
    struct error err = {0};
    ck_assert_msg(vm_config_parse(shown, VM_CONFIG_ASKED, &again, NULL, NULL, &err) == 0, "%s", err.message);
    ck_assert(vm_config_equal(&config, &again));
}
END_TEST

#define WITH(member)  "{'image':'a'," member "}"
#define PORT(members) "{'image':'a','network_interfaces':[{'iface_id':'e'}],'ports':[" members "]}"

static const struct {
    const char *text, *fault; /* "pointer message;", as many as there are */
} refused[] = {
    {"[]", " must be an object;"},
    {"{}", "/image is required;"},
    {"{'image':1}", "/image must be a string;"},
    {"{'image':''}", "/image must be the id of an image;"},
    {"{'image':'../a'}", "/image must be the id of an image;"},
    {WITH("'id':'x'"), "/id is not a known field;"},
    {WITH("'a/~b':1"), "/a~1~0b is not a known field;"},
    {WITH("'machine_config':[]"), "/machine_config must be an object;"},
    {WITH("'machine_config':{'smt':true}"), "/machine_config/smt is not a known field;"},
    {WITH("'machine_config':{'vcpu_count':0}"), "/machine_config/vcpu_count must be at least 1;"},
    {WITH("'machine_config':{'vcpu_count':33}"), "/machine_config/vcpu_count must be at most 32;"},
    {WITH("'machine_config':{'vcpu_count':3}"), "/machine_config/vcpu_count must be 1 or an even number;"},
    {WITH("'machine_config':{'vcpu_count':'2'}"), "/machine_config/vcpu_count must be an integer;"},
    {WITH("'machine_config':{'vcpu_count':2.5}"), "/machine_config/vcpu_count must be an integer;"},
    {WITH("'machine_config':{'mem_size_mib':0}"), "/machine_config/mem_size_mib must be at least 1;"},
    {WITH("'machine_config':{'mem_size_mib':1048577}"), "/machine_config/mem_size_mib must be at most 1048576;"},
    {WITH("'limits':null"), "/limits must be an object;"},
    {WITH("'limits':{'cpu':1}"), "/limits/cpu is not a known field;"},
    {WITH("'limits':{'cpu_percent':-1}"), "/limits/cpu_percent must be at least 0;"},
    {WITH("'limits':{'cpu_percent':100001}"), "/limits/cpu_percent must be at most 100000;"},
    {WITH("'limits':{'cpu_percent':'1'}"), "/limits/cpu_percent must be an integer;"},
    {WITH("'limits':{'cpu_weight':0}"), "/limits/cpu_weight must be at least 1;"},
    {WITH("'limits':{'cpu_weight':10001}"), "/limits/cpu_weight must be at most 10000;"},
    {WITH("'limits':{'io':[]}"), "/limits/io must be an object;"},
    {WITH("'limits':{'io':{'bytes':1}}"), "/limits/io/bytes is not a known field;"},
    {WITH("'limits':{'io':{'read_bytes_per_s':-1}}"), "/limits/io/read_bytes_per_s must be at least 0;"},
    {WITH("'limits':{'io':{'write_bytes_per_s':1099511627777}}"), "/limits/io/write_bytes_per_s must be at most 1099511627776;"},
    {WITH("'limits':{'io':{'read_ops_per_s':1000000001,'write_ops_per_s':1000000001}}"),
     "/limits/io/read_ops_per_s must be at most 1000000000;/limits/io/write_ops_per_s must be at most 1000000000;"},
    {WITH("'boot_args':null"), "/boot_args must be a string;"},
    {WITH("'boot_args':'a\\nb'"), "/boot_args must be at most 1024 printable ASCII characters;"},
    {WITH("'boot_args':'\\u00e4'"), "/boot_args must be at most 1024 printable ASCII characters;"},
    {WITH("'vmm':'xen'"), "/vmm is not one of those that it can be;"},
    {WITH("'vmm':7"), "/vmm must be a string;"},
    {WITH("'autostart':1"), "/autostart must be a boolean;"},
    {WITH("'restart_policy':'Always'"), "/restart_policy is not one of those that it can be;"},
    {WITH("'labels':[]"), "/labels must be an object;"},
    {WITH("'labels':{'-a':''}"), "/labels/-a is no name of a label;"},
    {WITH("'labels':{'a b':''}"), "/labels/a b is no name of a label;"},
    {WITH("'labels':{'a':1}"), "/labels/a must be a string;"},
    {WITH("'network_interfaces':{}"), "/network_interfaces must be an array;"},
    {WITH("'network_interfaces':[1]"), "/network_interfaces/0 must be an object;"},
    {WITH("'network_interfaces':[{}]"), "/network_interfaces/0/iface_id is required;"},
    {WITH("'network_interfaces':[{'iface_id':'_a'}]"),
     "/network_interfaces/0/iface_id must be a name of at most 32 of a-z, 0-9 and _, that does not begin with _;"},
    {WITH("'network_interfaces':[{'iface_id':'a'},{'iface_id':'a'}]"), "/network_interfaces/1/iface_id is that of /network_interfaces/0 too;"},
    {WITH("'network_interfaces':[{'iface_id':'a','mtu':1}]"), "/network_interfaces/0/mtu is not a known field;"},
    {WITH("'network_interfaces':[{'iface_id':'a'},{'iface_id':'b'},{'iface_id':'c'},{'iface_id':'d'},{'iface_id':'e'},{'iface_id':'f'},{'iface_id':'g'},"
          "{'iface_id':'h'},{'iface_id':'i'}]"),
     "/network_interfaces must have at most 8 items;"},
    {WITH("'ports':[{'host_port':1,'guest_port':1}]"), "/ports needs a network interface;"},
    {PORT("7"), "/ports/0 must be an object;"},
    {PORT("{}"), "/ports/0/host_port is required;/ports/0/guest_port is required;"},
    {PORT("{'host_port':-1,'guest_port':0}"), "/ports/0/host_port must be at least 0;/ports/0/guest_port must be at least 1;"},
    {PORT("{'host_port':65536,'guest_port':65536}"), "/ports/0/host_port must be at most 65535;/ports/0/guest_port must be at most 65535;"},
    {PORT("{'host_port':1,'guest_port':1,'count':0}"), "/ports/0/count must be at least 1;"},
    {PORT("{'host_port':1,'guest_port':1,'count':1001}"), "/ports/0/count must be at most 1000;"},
    {PORT("{'host_port':65535,'guest_port':65000,'count':600}"),
     "/ports/0/host_port with count 600 the last port would be 66134;/ports/0/guest_port with count 600 the last port would be 65599;"},
    {PORT("{'host_port':1,'guest_port':1,'protocol':'sctp'}"), "/ports/0/protocol is not one of those that it can be;"},
    {PORT("{'host_port':1,'guest_port':1,'host_ip':'localhost'}"), "/ports/0/host_ip must be an IPv4 or IPv6 address;"},
    {PORT("{'host_port':1,'guest_port':1,'host_ip':'224.0.0.1'}"), "/ports/0/host_ip is no address that a host can have;"},
    {PORT("{'host_port':1,'guest_port':1,'host_ip':'0.0.0.1'}"), "/ports/0/host_ip is no address that a host can have;"},
    {PORT("{'host_port':1,'guest_port':1,'host_ip':'::1'}"),
     "/ports/0/host_ip nothing leads from ::1 to a guest: the host reaches a port at its other addresses, and at 127.0.0.1;"},
    {PORT("{'host_port':1,'guest_port':1,'host_ip':'fe80::1'}"), "/ports/0/host_ip is multicast or link-local;"},
    {PORT("{'host_port':1,'guest_port':1,'x':1}"), "/ports/0/x is not a known field;"},
    {PORT("{'host_port':80,'guest_port':1},{'host_ip':'127.0.0.1','host_port':80,'guest_port':2}"), "/ports/1/host_port is that of /ports/0 too;"},
    {PORT("{'host_port':80,'guest_port':1,'count':5},{'host_port':84,'guest_port':2}"), "/ports/1/host_port has ports of /ports/0 too;"},
    {PORT("{'host_port':80,'guest_port':1,'count':1000},{'host_port':84,'guest_port':2,'protocol':'udp'}"),
     "/ports has 1001 ports in all, at most 1000 are allowed;"},
    /* all at once */
    {"{'machine_config':{'vcpu_count':3,'mem_size_mib':'x'},'vmm':1,'colour':2,'labels':{'-':3},'ports':[{'host_port':1}]}",
     "/colour is not a known field;/image is required;/machine_config/mem_size_mib must be an integer;/machine_config/vcpu_count must be 1 or an even number;"
     "/vmm must be a string;/ports/0/guest_port is required;/ports needs a network interface;/labels/- is no name of a label;"},
};

START_TEST(every_fault_is_told)
{
    struct vm_config config;
    struct faults faults = {.text = STRBUF_INIT};
    struct error err = {0};
    AUTO_JSON *value = json(refused[_i].text);
    ck_assert_int_eq(vm_config_parse(value, VM_CONFIG_ASKED, &config, note, &faults, &err), -1);
    ck_assert_int_eq(err.code, ERR_INVALID_CONFIG);
    ck_assert_str_eq(faults.text.data, refused[_i].fault);
    strbuf_free(&faults.text);
    ck_assert_int_eq(vm_config_parse(value, VM_CONFIG_STORED, &config, NULL, NULL, &err), -1); /* nor is it stored */
}
END_TEST

START_TEST(a_port_that_is_left_to_the_daemon_is_not_stored)
{
    AUTO_VM_CONFIG config = parsed(PORT("{'host_port':0,'guest_port':1},{'host_port':0,'guest_port':1}"));
    AUTO_FREE char *text = NULL;
    struct error err = {0};
    struct vm_config again;
    ck_assert_int_eq(vm_config_text(&config, &text, &err), 0);
    ck_assert_int_eq(vm_config_parse_text(text, &again, &err), -1);
    ck_assert_str_eq(err.message, "/ports/0/host_port must be at least 1 (and 1 more)");
}
END_TEST

START_TEST(text_that_is_none)
{
    static const char *const texts[] = {"",     "{", "{\"image\":\"a\"} x", "{\"image\":\"a\",\"image\":\"b\"}", "{\"image\":\"\\u0000\"}", "\"\xff\"",
                                        "null", "7"};
    struct vm_config config;
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        ck_assert_int_eq(vm_config_parse_text(texts[i], &config, &err), -1);
        ck_assert_int_eq(err.code, ERR_INVALID_CONFIG);
    }
    /* What is told of it is printable, whatever it is. */
    ck_assert_int_eq(vm_config_parse_text("{\"image\":\"a\",\"\\u001b[2J\\u00e4\":1}", &config, &err), -1);
    ck_assert_str_eq(err.message, "/?[2J?? is not a known field");
}
END_TEST

/* As many and as long labels and ports as there may be, each character as many bytes as it can be. */
START_TEST(the_longest_document_fits)
{
    AUTO_JSON *document = json("{'image':'a','network_interfaces':[{'iface_id':'e'}],'labels':{},'ports':[]}");
    json_t *labels = json_object_get(document, "labels");
    json_t *ports = json_object_get(document, "ports");
    AUTO_FREE char *text = NULL;
    char value[255 + 1];
    char args[VM_CONFIG_BOOT_ARGS_MAX + 1];
    struct error err = {0};
    memset(value, 1, sizeof value - 1);
    value[sizeof value - 1] = '\0';
    memset(args, '"', sizeof args - 1);
    args[sizeof args - 1] = '\0';
    ck_assert_int_eq(json_object_set_new(document, "boot_args", json_string(args)), 0);
    for (int i = 0; i < LIMIT_LABELS; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%063d", i);
        ck_assert_int_eq(json_object_set_new(labels, name, json_string(value)), 0);
        ck_assert_int_eq(json_array_append_new(ports, json_pack("{s:s, s:i, s:i, s:i, s:s}", "host_ip", "2001:db8:1111:1111:1111:1111:1111:1111", "host_port",
                                                                60000 + i * 10, "guest_port", 60000, "count", 10, "protocol", "udp")),
                         0);
    }
    AUTO_VM_CONFIG config = {.image = NULL};
    AUTO_VM_CONFIG again = {.image = NULL};
    ck_assert_msg(vm_config_parse(document, VM_CONFIG_STORED, &config, NULL, NULL, &err) == 0, "%s", err.message);
    ck_assert_int_eq(vm_config_text(&config, &text, &err), 0);
    ck_assert_msg(vm_config_parse_text(text, &again, &err) == 0, "%zu: %s", strlen(text), err.message);
    ck_assert(vm_config_equal(&config, &again));
    /* One more of each is too much. */
    ck_assert_int_eq(json_object_set_new(labels, "more", json_string("")), 0);
    ck_assert_int_eq(vm_config_parse(document, VM_CONFIG_STORED, &again, NULL, NULL, &err), -1);
    ck_assert_str_eq(err.message, "/labels must have at most 64 labels");
    ck_assert_int_eq(json_object_del(labels, "more"), 0);
    ck_assert_int_eq(json_array_append_new(ports, json_object()), 0);
    ck_assert_int_eq(vm_config_parse(document, VM_CONFIG_STORED, &again, NULL, NULL, &err), -1);
    ck_assert_str_eq(err.message, "/ports must have at most 64 items");
    /* And more bytes than are read at all. */
    AUTO_FREE char *blank = malloc(LIMIT_VM_CONFIG_BYTES + 2);
    ck_assert_ptr_nonnull(blank);
    memset(blank, ' ', LIMIT_VM_CONFIG_BYTES + 1);
    blank[LIMIT_VM_CONFIG_BYTES + 1] = '\0';
    memcpy(blank, "{\"image\":\"a\"}", 13);
    ck_assert_int_eq(vm_config_parse_text(blank, &again, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "more than 131072 bytes"));
    blank[LIMIT_VM_CONFIG_BYTES] = '\0';
    vm_config_free(&again);
    ck_assert_int_eq(vm_config_parse_text(blank, &again, &err), 0);
}
END_TEST

static const struct {
    const char *a, *b;
    unsigned differ, wait;
} changes[] = {
    {"{'image':'a'}", "{'image':'a'}", 0, 0},
    {"{'image':'a'}", "{'image':'b'}", 1U << VM_CONFIG_IMAGE, 1U << VM_CONFIG_IMAGE},
    {"{'image':'a'}", WITH("'machine_config':{'mem_size_mib':64}"), 1U << VM_CONFIG_MACHINE, 1U << VM_CONFIG_MACHINE},
    {"{'image':'a'}", WITH("'boot_args':'x'"), 1U << VM_CONFIG_BOOT_ARGS, 1U << VM_CONFIG_BOOT_ARGS},
    {"{'image':'a'}", WITH("'vmm':'qemu'"), 1U << VM_CONFIG_VMM, 1U << VM_CONFIG_VMM},
    {"{'image':'a'}", WITH("'network_interfaces':[{'iface_id':'e'}]"), 1U << VM_CONFIG_INTERFACES, 1U << VM_CONFIG_INTERFACES},
    {WITH("'network_interfaces':[{'iface_id':'e'}]"), PORT("{'host_port':1,'guest_port':1}"), 1U << VM_CONFIG_PORTS, 0},
    {PORT("{'host_port':1,'guest_port':2}"), PORT("{'host_port':1,'guest_port':1}"), 1U << VM_CONFIG_PORTS, 0},
    {"{'image':'a'}", WITH("'autostart':true"), 1U << VM_CONFIG_AUTOSTART, 0},
    {"{'image':'a'}", WITH("'restart_policy':'always'"), 1U << VM_CONFIG_RESTART_POLICY, 0},
    {"{'image':'a'}", WITH("'labels':{'a':'b'}"), 1U << VM_CONFIG_LABELS, 0},
    {"{'image':'a'}", WITH("'limits':{'cpu_percent':0,'cpu_weight':100,'io':{}}"), 0, 0},
    {"{'image':'a'}", WITH("'limits':{'cpu_percent':1}"), 1U << VM_CONFIG_LIMITS, 0},
    {"{'image':'a'}", WITH("'limits':{'cpu_weight':1}"), 1U << VM_CONFIG_LIMITS, 0},
    {"{'image':'a'}", WITH("'limits':{'io':{'write_ops_per_s':1}}"), 1U << VM_CONFIG_LIMITS, 0},
    {WITH("'labels':{'a':'b','c':'d'}"), WITH("'labels':{'c':'d','a':'b'}"), 0, 0},
    {WITH("'labels':{'a':'b'}"), WITH("'labels':{'a':'c'}"), 1U << VM_CONFIG_LABELS, 0},
};

START_TEST(what_differs)
{
    AUTO_VM_CONFIG a = parsed(changes[_i].a);
    AUTO_VM_CONFIG b = parsed(changes[_i].b);
    ck_assert_uint_eq(vm_config_differences(&a, &b), changes[_i].differ);
    ck_assert(vm_config_equal(&a, &b) == (changes[_i].differ == 0));
    ck_assert_uint_eq(vm_config_at_next_boot(changes[_i].differ), changes[_i].wait);
}
END_TEST

/* The defaults of the document are those that openapi.yaml tells. */
START_TEST(defaults_are_those_of_the_specification)
{
    struct spec *spec = NULL;
    struct error err = {0};
    AUTO_JSON *body = json("{'image':'a','machine_config':{},'network_interfaces':[{'iface_id':'e'}],'ports':[{'host_port':1,'guest_port':2}]}");
    AUTO_VM_CONFIG bare = {.image = NULL};
    AUTO_VM_CONFIG full = {.image = NULL};
    ck_assert_msg(spec_load(openapi_yaml_begin, openapi_yaml_len, &spec, &err) == 0, "%s", err.message);
    ck_assert_int_eq(vm_config_parse(body, VM_CONFIG_ASKED, &bare, NULL, NULL, &err), 0);
    ck_assert_int_eq(spec_apply_defaults(spec, "VmCreate", body, &err), 0);
    (void)json_object_del(body, "desired_state");
    ck_assert_msg(vm_config_parse(body, VM_CONFIG_ASKED, &full, NULL, NULL, &err) == 0, "%s", err.message);
    ck_assert(vm_config_equal(&bare, &full));
    spec_free(spec);
}
END_TEST

static const struct {
    const char *target, *patch, *wanted;
} merges[] = {
    /* RFC 7396, appendix A */
    {"{'a':'b'}", "{'a':'c'}", "{'a':'c'}"},
    {"{'a':'b'}", "{'b':'c'}", "{'a':'b','b':'c'}"},
    {"{'a':'b'}", "{'a':null}", "{}"},
    {"{'a':'b','b':'c'}", "{'a':null}", "{'b':'c'}"},
    {"{'a':['b']}", "{'a':'c'}", "{'a':'c'}"},
    {"{'a':'c'}", "{'a':['b']}", "{'a':['b']}"},
    {"{'a':{'b':'c'}}", "{'a':{'b':'d','c':null}}", "{'a':{'b':'d'}}"},
    {"{'a':[{'b':'c'}]}", "{'a':[1]}", "{'a':[1]}"},
    {"['a','b']", "['c','d']", "['c','d']"},
    {"{'a':'b'}", "['c']", "['c']"},
    {"{'a':'foo'}", "null", "null"},
    {"{'a':'foo'}", "'bar'", "'bar'"},
    {"{'e':null}", "{'a':1}", "{'e':null,'a':1}"},
    {"[1,2]", "{'a':'b','c':null}", "{'a':'b'}"},
    {"{}", "{'a':{'bb':{'ccc':null}}}", "{'a':{'bb':{}}}"},
};

START_TEST(merge_patches)
{
    AUTO_JSON *target = json(merges[_i].target);
    AUTO_JSON *patch = json(merges[_i].patch);
    AUTO_JSON *wanted = json(merges[_i].wanted);
    AUTO_JSON *before = json(merges[_i].target);
    AUTO_JSON *merged = json_merged(target, patch);
    ck_assert_msg(json_equal(merged, wanted), "%s + %s", merges[_i].target, merges[_i].patch);
    ck_assert(json_equal(target, before));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vm_config");
    TCase *tcase = tcase_create("vm_config");
    tcase_add_loop_test(tcase, canonical_form, 0, (int)ARRAY_LEN(forms));
    tcase_add_loop_test(tcase, every_fault_is_told, 0, (int)ARRAY_LEN(refused));
    tcase_add_test(tcase, a_port_that_is_left_to_the_daemon_is_not_stored);
    tcase_add_test(tcase, text_that_is_none);
    tcase_add_test(tcase, the_longest_document_fits);
    tcase_add_loop_test(tcase, what_differs, 0, (int)ARRAY_LEN(changes));
    tcase_add_test(tcase, defaults_are_those_of_the_specification);
    tcase_add_loop_test(tcase, merge_patches, 0, (int)ARRAY_LEN(merges));
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
