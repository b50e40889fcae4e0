/* The kernel's command line: whose argument stands where, what is left out, and what cannot be. */
#include "core/kernel_args.h"

#include "core/cleanup.h"
#include "core/limits.h"
#include "core/strbuf.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define FIRST "console=ttyS0 reboot=t panic=-1"
#define GIVEN " ip=10.0.0.2::10.0.0.1:255.255.255.0::eth0:off smartvm.id=web"
#define LAST  " root=/dev/vda rw"

static struct network_settings settings;
static struct kernel_args args;
static struct error err;

static void setup(void)
{
    memset(&settings, 0, sizeof settings);
    settings.subnet = (struct ipv4_net){.address = 0x0a000000, .prefix = 24};
    settings.gateway = 0x0a000001;
    args = (struct kernel_args){
        .vmm = &kernel_args_qemu, .image = "", .own = "", .id = "web", .has_address = true, .address = 0x0a000002, .settings = &settings, .device_count = 3};
}

static const struct {
    const char *image, *own, *wanted;
} lines[] = {
    {"", "", FIRST GIVEN LAST},
    {"quiet", "debug", FIRST " quiet" GIVEN " debug" LAST},
    {"  a   b ", "\"c d\"  e=\"f g\"", FIRST " a b" GIVEN " \"c d\" e=\"f g\"" LAST},
    /* What goes to init stands behind all else, wherever the text has its `--`. */
    {"", "-- single", FIRST GIVEN LAST " -- single"},
    {"", "debug -- a -- b", FIRST GIVEN " debug" LAST " -- a -- b"},
    {"quiet -- x", "debug -- y", FIRST " quiet" GIVEN " debug" LAST " -- x y"},
    {"quiet -- x", "debug", FIRST " quiet" GIVEN " debug" LAST " -- x"},
    {"quiet --", "debug --", FIRST " quiet" GIVEN " debug" LAST},
    {"--", "--", FIRST GIVEN LAST},
    {"", "a  --  b", FIRST GIVEN " a" LAST " -- b"},
    {"", "a \"--\" b", FIRST GIVEN " a" LAST " -- b"}, /* to the kernel it is the same */
    {"", "a \"--", NULL},
    {"", "--a a-- --=b -- c", FIRST GIVEN " --a a-- --=b" LAST " -- c"},
    {"", "foo=\"a -- b\" c", FIRST GIVEN " foo=\"a -- b\" c" LAST},
    {"", "foo=\"a -- b\" -- c", FIRST GIVEN " foo=\"a -- b\"" LAST " -- c"},
    /* The daemon's own. */
    {"ip=dhcp quiet", "ip=1.2.3.4", FIRST " quiet" GIVEN LAST},
    {"ip=\"dhcp\" nfsaddrs=1.2.3.4", "\"ip=1.2.3.4\" x", FIRST GIVEN " x" LAST},
    {"ip ip6=1 skip=2 ip.x=3", "", FIRST " ip ip6=1 skip=2 ip.x=3" GIVEN LAST},
    {"root=/dev/sda1 rootwait rootflags=noload ro", "root=PARTUUID=1 rw", FIRST " rootwait rootflags=noload" GIVEN " rw" LAST},
    {"smartvm.id=other smartvm.x", "smartvm.ip6=::1", FIRST GIVEN LAST},
    {"smartvm. smartvm", "", FIRST " smartvm. smartvm" GIVEN LAST},
    {"", "-- ip=1.2.3.4 root=x", FIRST GIVEN LAST " -- ip=1.2.3.4 root=x"}, /* of init: none of the kernel's business */
    {"console=tty0 init=/bin/sh", "reboot=k", FIRST " console=tty0 init=/bin/sh" GIVEN " reboot=k" LAST},
    {"a=\"b", "", NULL},
    {"", "a=\"b c", NULL},
    {"", "-- \"b", NULL},
    {"\"", "\"", NULL},
};

static char *compose(void)
{
    char *line = NULL;
    err = (struct error){.code = ERR_INTERNAL};
    if (kernel_args_compose(&args, &line, &err) != 0) {
        ck_assert_int_eq(err.code, ERR_INVALID_CONFIG);
        ck_assert_ptr_null(line);
    }
    return line;
}

START_TEST(composes)
{
    args.image = lines[_i].image;
    args.own = lines[_i].own;
    AUTO_FREE char *line = compose();
    ck_assert_int_eq(kernel_args_quotes_match(args.image) && kernel_args_quotes_match(args.own), line != NULL);
    if (lines[_i].wanted == NULL) {
        ck_assert_msg(line == NULL && strstr(err.message, "quote") != NULL, "%s", line != NULL ? line : err.message);
    } else {
        ck_assert_msg(line != NULL, "%s", err.message);
        ck_assert_str_eq(line, lines[_i].wanted);
    }
}
END_TEST

START_TEST(without_an_address)
{
    args.has_address = false;
    args.settings = NULL;
    args.image = "ip=dhcp";
    args.own = "nfsaddrs=1.2.3.4";
    args.root_is_read_only = true;
    AUTO_FREE char *line = compose();
    ck_assert_str_eq(line, FIRST " ip=dhcp smartvm.id=web nfsaddrs=1.2.3.4 root=/dev/vda ro");
}
END_TEST

START_TEST(with_ipv6)
{
    ck_assert_int_eq(ip_net_parse("fd00::/64", ERR_INVALID_SUBNET, &settings.subnet6, &err), 0);
    ck_assert(ip_addr_parse("fd00::1", &settings.gateway6));
    AUTO_FREE char *line = compose();
    ck_assert_ptr_nonnull(strstr(line, ":off smartvm.ip6=fd00::2/128,fd00::1 smartvm.id=web"));
}
END_TEST

/* It adds the root device itself, before the first " -- " in the text: none of the kernel's arguments may have one. */
START_TEST(firecracker)
{
    args.vmm = &kernel_args_firecracker;
    args.own = "x -- y";
    AUTO_FREE char *line = compose();
    ck_assert_ptr_nonnull(strstr(line, GIVEN " x -- y"));
    ck_assert_ptr_null(strstr(line, "root="));
    args.own = "foo=\"a -- b\"";
    ck_assert_ptr_null(compose());
    ck_assert_ptr_nonnull(strstr(err.message, "within quotes"));
    args.own = "foo=\"a-- --b\" x -- foo=\"a -- b\"";
    AUTO_FREE char *other = compose();
    ck_assert_msg(other != NULL, "%s", err.message);
}
END_TEST

/* One byte less than the kernel's COMMAND_LINE_SIZE, which has the terminator in it. */
START_TEST(there_is_room_for_all_that_is_added)
{
    static const struct kernel_args_vmm *const vmms[] = {&kernel_args_firecracker, &kernel_args_qemu};
    static char text[LIMIT_BOOT_ARGS_BYTES];
    args.vmm = vmms[_i];
    AUTO_FREE char *bare = compose();
    size_t left = LIMIT_BOOT_ARGS_BYTES - 1 - strlen(bare) - args.vmm->added_bytes - 3 * args.vmm->device_bytes - 1;
    memset(text, 'a', left);
    text[left] = '\0';
    args.own = text;
    AUTO_FREE char *full = compose();
    ck_assert_msg(full != NULL, "%s", err.message);
    text[left] = 'a';
    text[left + 1] = '\0';
    ck_assert_ptr_null(compose());
    ck_assert_ptr_nonnull(strstr(err.message, "may have 2047"));
}
END_TEST

static void collect(void *ctx, const char *sentence)
{
    struct strbuf *b = ctx;
    strbuf_addf(b, "%.*s;", (int)strcspn(sentence, ":"), sentence);
}

static const struct {
    const char *text;
    bool has_address, root_is_read_only;
    const char *wanted;
} reserved[] = {
    {"quiet console=ttyS1 init=/x ip ro=1 rw=2 rooty=1", true, false, ""},
    {"ip=a ip=\"b\" \"ip=c\" nfsaddrs=d", true, false, "ip=;ip=;ip=;nfsaddrs=;"},
    {"ip=a nfsaddrs=d", false, false, ""},
    {"root=/dev/vdb", false, false, "root=;"},
    {"ro rw", true, true, "rw;"},
    {"ro rw", true, false, "ro;"},
    {"smartvm.x smartvm.id=1", true, false, "smartvm.x;smartvm.id=;"},
    {"a -- ip=a root=b ro", true, false, ""},
    {"a \"--\" ip=a", true, false, ""},
    {"a=\"b ip=c\" root=d", true, false, "root=;"},
};

START_TEST(tells_what_is_the_daemons)
{
    AUTO_STRBUF b = STRBUF_INIT;
    strbuf_add(&b, "");
    kernel_args_reserved(reserved[_i].text, reserved[_i].has_address, reserved[_i].root_is_read_only, collect, &b);
    ck_assert_str_eq(b.data, reserved[_i].wanted);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kernel_args");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_loop_test(tests, composes, 0, ARRAY_LEN(lines));
    tcase_add_test(tests, without_an_address);
    tcase_add_test(tests, with_ipv6);
    tcase_add_test(tests, firecracker);
    tcase_add_loop_test(tests, there_is_room_for_all_that_is_added, 0, 2);
    tcase_add_loop_test(tests, tells_what_is_the_daemons, 0, ARRAY_LEN(reserved));
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
