/* WireGuard configurations: every rule from both sides, and that no key is ever quoted. */
#include "core/cleanup.h"
#include "core/json.h"
#include "core/strbuf.h"
#include "core/wireguard.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define KEY_A "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
#define KEY_B "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
#define KEY_C "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="
#define PSK   "FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE="
#define HEAD  "[Interface]\nPrivateKey = " KEY_A "\nAddress = 10.0.0.2/32\n"
#define PEER  "[Peer]\nPublicKey = " KEY_B "\n"

static struct wireguard config;
static struct error err;
static struct wireguard_faults faults;

static void teardown(void)
{
    wireguard_free(&config);
}

static void expect_faults_without_keys(void)
{
    ck_assert_uint_ge(faults.count, 1);
    ck_assert_str_eq(err.message, faults.items[0].message);
    for (size_t i = 0; i < faults.count; i++) {
        ck_assert_ptr_null(strstr(faults.items[i].message, "yAnz5"));
        ck_assert_ptr_null(strstr(faults.items[i].message, "FpCyh"));
    }
}

static int read_text(const char *text, bool ipv6)
{
    wireguard_free(&config);
    err = (struct error){.code = ERR_INTERNAL};
    int result = wireguard_parse_text(text, ipv6, &config, &faults, &err);
    if (result != 0) {
        ck_assert_int_eq(err.code, ERR_INVALID_WIREGUARD_CONFIG);
        expect_faults_without_keys();
    }
    return result;
}

static int read_json(const char *text, bool ipv6)
{
    AUTO_JSON *json = NULL;
    wireguard_free(&config);
    ck_assert_int_eq(json_parse(text, strlen(text), &json, &err), 0);
    int result = wireguard_parse(json, ipv6, &config, &faults, &err);
    if (result != 0) {
        ck_assert_int_eq(err.code, ERR_INVALID_WIREGUARD_CONFIG);
        expect_faults_without_keys();
    }
    return result;
}

START_TEST(a_whole_configuration)
{
    ck_assert_int_eq(read_text("# mine\n[interface]\r\n privatekey=" KEY_A " # secret\nADDRESS = 10.0.0.2/24, 10.0.1.2\nAddress=10.0.2.2/32\n"
                               "ListenPort = 51820\nFwMark = 0xca6c ; mark\nMTU = 1380\nDNS = 1.1.1.1, example.org\nTable = off\n"
                               "[PEER]\nPublicKey = " KEY_B "\nPresharedKey = " PSK "\nAllowedIPs = 0.0.0.0/0\n"
                               "Endpoint = vpn.example.org:51820\nPersistentKeepalive = 25\n"
                               "[Peer]\nPublicKey = " KEY_C "\nAllowedIPs = 10.9.0.1/16, 192.0.2.7\nEndpoint = [2001:db8::1]:1\n"
                               "PersistentKeepalive = off\n",
                               false),
                     0);
    ck_assert_uint_eq(config.address_count, 3);
    ck_assert_uint_eq(config.addresses[0].prefix, 24);
    ck_assert_uint_eq(config.addresses[0].address.bytes[3], 2);
    ck_assert_uint_eq(config.addresses[1].prefix, 32);
    ck_assert_uint_eq(config.listen_port, 51820);
    ck_assert_uint_eq(config.fwmark, 0xca6c);
    ck_assert_uint_eq(config.mtu, 1380);
    ck_assert_uint_eq(config.warnings, 1U << WIREGUARD_IGNORED_DNS | 1U << WIREGUARD_IGNORED_TABLE | 1U << WIREGUARD_HOST_BITS);
    ck_assert_uint_eq(config.peer_count, 2);
    const struct wireguard_peer *c = &config.peers[0];
    const struct wireguard_peer *b = &config.peers[1];
    ck_assert_uint_eq(c->public_key.bytes[0], 0x4e); /* sorted: "Tr" is 0x4e, "xT" 0xc5 */
    ck_assert_str_eq(c->host, "2001:db8::1");
    ck_assert_uint_eq(c->allowed_count, 2);
    ck_assert_uint_eq(c->allowed[0].address.bytes[2], 0);
    ck_assert(!c->has_preshared_key && b->has_preshared_key);
    ck_assert_str_eq(b->host, "vpn.example.org");
    ck_assert_uint_eq(b->port, 51820);
    ck_assert_uint_eq(b->keepalive, 25);
}
END_TEST

static const char *const accepted[] = {
    HEAD,
    HEAD PEER,
    HEAD "ListenPort=0\n" PEER,
    HEAD "ListenPort=65535\n" PEER,
    HEAD "FwMark=4294967295\n",
    HEAD "FwMark=0xFFFFFFFF\n",
    HEAD "FwMark=off\n",
    HEAD "MTU=576\n",
    HEAD "MTU=9000\n",
    HEAD PEER "PersistentKeepalive=0\n",
    HEAD PEER "PersistentKeepalive=65535\n",
    HEAD PEER "AllowedIPs=\n",
    HEAD PEER "AllowedIPs=10.0.0.0/8\nAllowedIPs=11.0.0.0/8",
    HEAD PEER "Endpoint=a-b_c.d:1",
    HEAD PEER "Endpoint=[::1]:65535",
    HEAD "PostUp =\nPreUp=\nPostDown = # nothing\nPreDown = ; nothing\nDNS=\nTable=\nSaveConfig =\nMTU =\n",
    HEAD "SaveConfig = false\n",
    HEAD "PostUp =\nPostUp =\n",
    "\xef\xbb\xbf" HEAD,
    HEAD "Address = 10.0.0.2/32\nAddress = 10.0.0.2\n", /* as some providers' files have it */
    HEAD PEER "AllowedIPs=10.0.0.0/8,10.0.0.0/8, 10.1.2.3/8\n",
    HEAD PEER "AllowedIPs=0.0.0.0/0, ::/0\n",
    HEAD "Address = 2001:db8::2\n",
    "; a comment\n\n\t\n" HEAD "   [Peer]   # a\nPublicKey=" KEY_B "#b\n",
};

START_TEST(private_keys_are_clamped)
{
    ck_assert_int_eq(read_text("[Interface]\nPrivateKey=//////////////////////////////////////////8=\nAddress=10.0.0.2\n", false), 0);
    ck_assert_uint_eq(config.private_key.bytes[0], 0xf8);
    ck_assert_uint_eq(config.private_key.bytes[31], 0x7f);
}
END_TEST

START_TEST(accepts)
{
    ck_assert_msg(read_text(accepted[_i], false) == 0, "%s: %s", accepted[_i], err.message);
}
END_TEST

static const struct {
    const char *text;
    const char *words; /* in the message */
} refused[] = {
    {"", "a private key is required"},
    {"[Interface]\nAddress=10.0.0.2\n", "a private key is required"},
    {"[Interface]\nPrivateKey=" KEY_A "\n", "an address"},
    {"PrivateKey=" KEY_A "\n" HEAD, "line 1: stands before"},
    {HEAD "[Interface]\n", "one section [Interface]"},
    {HEAD "[Other]\n", "line 4: sections are"},
    {HEAD "[Peer\n", "sections are"},
    {HEAD "gibberish\n", "line 4: is neither"},
    {HEAD "Gibberish=1\n", "line 4: Gibberish: is no key of"},
    {HEAD "jc = 4\n", "line 4: Jc: is a key of AmneziaWG"},
    {HEAD "Jmin = 40\n", "line 4: Jmin: is a key of AmneziaWG"},
    {HEAD "H1 = 1\n", "line 4: H1: is a key of AmneziaWG"},
    {HEAD "Private Key = 1\n", "line 4: the key of this line is not known"},
    {HEAD "abcdefghijklmnopqrstu = 1\n", "line 4: the key of this line is not known"},
    {HEAD "abc123 = 1\n", "line 4: the key of this line is not known"},
    {"\xef\xbb\xbf\xef\xbb\xbf[Interface]\n", "line 1: is neither"},
    {"[Interface]\n" KEY_A "\n", "line 2: the key"},
    {"[Interface]\nPrivateKey " KEY_A "\n", "line 2: the key"},
    {"[Interface]\nPrivateKey = " KEY_A KEY_A "\n", "line 2: PrivateKey: must be 32 bytes"},
    {"[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk\n", "PrivateKey: must be"},
    {"[Interface]\nPrivateKey = yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBml=\n", "PrivateKey: must be"},
    {"[Interface]\nPrivateKey = yAnz5TF_lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=\n", "PrivateKey: must be"},
    {"[Interface]\nPrivateKey = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", "must not be all zeroes"},
    {HEAD "PrivateKey=" KEY_A "\n", "PrivateKey: may be there once"},
    {HEAD "PublicKey=" KEY_B "\n", "belongs into section [Peer]"},
    {HEAD PEER "MTU=1400\n", "belongs into section [Interface]"},
    {HEAD PEER "DNS=1.1.1.1\n", "DNS: belongs into section [Interface]"},
    {HEAD "PreUp=x\n", "PreUp: is refused"},
    {HEAD "postup=x\n", "PostUp: is refused"},
    {HEAD "PREDOWN=x\n", "PreDown: is refused"},
    {HEAD "PostDown=x\n", "PostDown: is refused"},
    {HEAD "SaveConfig=true\n", "SaveConfig: is refused"},
    {HEAD "ListenPort=65536\n", "ListenPort: must be"},
    {HEAD "ListenPort=-1\n", "ListenPort: must be"},
    {HEAD "ListenPort=\n", "ListenPort: must be"},
    {HEAD "ListenPort=0x10\n", "ListenPort: must be"},
    {HEAD "FwMark=4294967296\n", "FwMark: must be"},
    {HEAD "FwMark=0x\n", "FwMark: must be"},
    {HEAD "MTU=575\n", "MTU: must be"},
    {HEAD "MTU=9001\n", "MTU: must be"},
    {HEAD "Address=10.0.0.2/24\n", "Address: an address must not be there twice"},
    {HEAD "Address=10.0.0.3/33\n", "Address: must be"},
    {HEAD "Address=10.0.0\n", "Address: must be"},
    {HEAD "Address=10.0.0.3,,10.0.0.4\n", "Address: must be"},
    {HEAD "Address=" PSK "\n", "Address: must be"},
    {"[Interface]\nPrivateKey = " KEY_A "\nAddress=2001:db8::2/64\n", "no IPv4 address of the interface is left"},
    {HEAD PEER "AllowedIPs=::/0\n", "line 4: AllowedIPs: nothing is left of this peer's"},
    {HEAD PEER "AllowedIPs=::/0\nAllowedIPs=fd00::/8, fe80::/10\n", "line 4: AllowedIPs: nothing is left"},
    {HEAD PEER "AllowedIPs=10.0.0.0/8\n[Peer]\nPublicKey=" KEY_C "\nAllowedIPs=::/0\n", "line 7: AllowedIPs: nothing is left"},
    {HEAD PEER "PostUp =\n", "PostUp: belongs into section"},
    {HEAD "SaveConfig=yes\n", "SaveConfig: is refused"},
    {HEAD "[Peer]\nAllowedIPs=10.0.0.0/8\n", "every peer needs a public key"},
    {HEAD PEER PEER, "the same public key"},
    {HEAD "[Peer]\nPublicKey=" PSK "x\n", "PublicKey: must be"},
    {HEAD PEER "PresharedKey=" PSK "x\n", "PresharedKey: must be"},
    {HEAD PEER "AllowedIPs=" PSK "\n", "AllowedIPs: must be"},
    {HEAD PEER "AllowedIPs=10.0.0.0/8\n[Peer]\nPublicKey=" KEY_C "\nAllowedIPs=10.1.2.3/8\n", "10.0.0.0/8 is there twice"},
    {HEAD PEER "Endpoint=example.org\n", "Endpoint: must be"},
    {HEAD PEER "Endpoint=example.org:0\n", "Endpoint: must be"},
    {HEAD PEER "Endpoint=example.org:65536\n", "Endpoint: must be"},
    {HEAD PEER "Endpoint=:51820\n", "Endpoint: must be"},
    {HEAD PEER "Endpoint=a b:51820\n", "Endpoint: must be"},
    {HEAD PEER "Endpoint=a..b:51820\n", "Endpoint: must be"},
    {HEAD PEER "Endpoint=1.2.3:51820\n", "Endpoint: must be"},
    {HEAD PEER "Endpoint=2001:db8::1:51820\n", "Endpoint: must be"},
    {HEAD PEER "Endpoint=[1.2.3.4]:51820\n", "Endpoint: must be"},
    {HEAD PEER "Endpoint=" PSK ":51820\n", "Endpoint: must be"},
    {HEAD PEER "PersistentKeepalive=65536\n", "PersistentKeepalive: must be"},
};

START_TEST(refuses)
{
    ck_assert_msg(read_text(refused[_i].text, false) != 0, "%s", refused[_i].text);
    ck_assert_msg(strstr(err.message, refused[_i].words) != NULL, "%s: %s", refused[_i].text, err.message);
}
END_TEST

START_TEST(ipv6_where_it_is_on)
{
    ck_assert_int_eq(read_text(HEAD "Address=2001:db8::2/64\n" PEER "AllowedIPs=::/0, 2001:db8::1/129\n", true), -1);
    ck_assert_int_eq(read_text(HEAD "Address=2001:db8::2/64\n" PEER "AllowedIPs=::/0, 2001:db8:1::5/48\n", true), 0);
    ck_assert_uint_eq(config.addresses[1].address.version, IP_V6);
    ck_assert_uint_eq(config.peers[0].allowed[1].address.bytes[15], 0);
}
END_TEST

/* `count` copies of a line with a number in it, behind what begins a configuration. */
static char *many(const char *head, const char *fmt, unsigned count)
{
    struct strbuf b = STRBUF_INIT;
    strbuf_add(&b, head);
    for (unsigned i = 0; i < count; i++) {
        char line[64];
        const char *mark = strchr(fmt, '@');
        (void)snprintf(line, sizeof line, "%.*s%u.%u%s\n", (int)(mark - fmt), fmt, i / 256, i % 256, mark + 1);
        strbuf_add(&b, line);
    }
    return strbuf_take(&b);
}

/* As providers hand them out. */
START_TEST(dual_stack_where_guests_have_no_ipv6)
{
    ck_assert_int_eq(read_text("\xef\xbb\xbf[Interface]\r\nPrivateKey = " KEY_A "\r\nAddress = 10.2.0.2/32, 2a07::2/128\r\nAddress = fd00::2\r\n"
                               "DNS = 10.2.0.1, 2a07::1\r\nPostUp =\r\n\r\n[Peer]\r\nPublicKey = " KEY_B "\r\n"
                               "AllowedIPs = 0.0.0.0/0, ::/0\r\nEndpoint = [2001:db8::1]:51820\r\n[Peer]\r\npublickey=" KEY_C
                               "\r\nAllowedIPs=10.0.0.0/8, ::/0\r\n",
                               false),
                     0);
    ck_assert_uint_eq(config.address_count, 1);
    ck_assert_uint_eq(config.peers[0].allowed_count, 1);
    ck_assert_uint_eq(config.peers[1].allowed_count, 1);
    ck_assert_uint_eq(config.peers[1].allowed[0].address.version, IP_V4);
    ck_assert_uint_eq(config.warnings, 1U << WIREGUARD_IGNORED_DNS | 1U << WIREGUARD_LEFT_OUT_IPV6);
    ck_assert_str_eq(config.left_out, "Address 2a07::2/128, Address fd00::2/128, AllowedIPs ::/0");
    ck_assert_int_eq(read_text(HEAD PEER "AllowedIPs = 0.0.0.0/0, ::/0\n", true), 0);
    ck_assert_uint_eq(config.peers[0].allowed_count, 2);
    ck_assert_str_eq(config.left_out, "");
    ck_assert_int_eq(read_json("{\"interface\":{\"private_key\":\"" KEY_A "\",\"addresses\":[\"2001:db8::2\",\"10.0.0.2\"]},\"peers\":[{\"public_key\":\"" KEY_B
                               "\",\"allowed_ips\":[\"fd00::/8\",\"0.0.0.0/0\"]}]}",
                               false),
                     0);
    ck_assert_str_eq(config.left_out, "Address 2001:db8::2/128, AllowedIPs fd00::/8");
}
END_TEST

/* Longer than there is room for: the rest is counted, and all of it stored. */
START_TEST(much_that_is_left_out)
{
    AUTO_STRBUF text = STRBUF_INIT;
    strbuf_add(&text, HEAD PEER "AllowedIPs = 10.0.0.0/8\n");
    for (unsigned i = 0; i < 200; i++) {
        strbuf_addf(&text, "AllowedIPs = 2001:db8:%x::/48\n", i + 1);
    }
    ck_assert_int_eq(read_text(text.data, false), 0);
    ck_assert_uint_gt(config.left_out_more, 100);
    config.managed = true;
    config.route_table = 7;
    memcpy(config.interface_name, "wgx", sizeof "wgx");
    AUTO_JSON *json = wireguard_json(&config);
    const char *stored = json_get_string(json, "left_out");
    ck_assert_ptr_nonnull(strstr(stored, "::/48, and 1"));
    AUTO_WIREGUARD again = {.managed = false};
    ck_assert_int_eq(wireguard_load(json, NULL, &again, &err), 0);
    ck_assert_str_eq(again.left_out, stored);
}
END_TEST

START_TEST(all_faults_at_once)
{
    static const char *const wanted[] = {"line 2: PrivateKey: must be", "line 3: Address: must be",     "line 3: Address: must be",
                                         "line 4: PostUp: is refused",  "line 5: Jc: is a key of",      "line 6: MTU: must be",
                                         "line 9: PublicKey: must be",  "line 10: AllowedIPs: must be", "line 11: sections are",
                                         "line 13: every peer needs",   "line 14: Endpoint: must be"};
    ck_assert_int_eq(read_text("[Interface]\nPrivateKey = x\nAddress = a, 10.0.0.2, b\nPostUp = x\nJc = 4\nMTU = 1\nDNS = 1.1.1.1\n[Peer]\nPublicKey = x\n"
                               "AllowedIPs = 10.0.0.0/8, x\n[Other]\nKey = 1\n[Peer]\nEndpoint = x\n",
                               false),
                     -1);
    ck_assert_uint_eq(faults.count, ARRAY_LEN(wanted));
    for (size_t i = 0; i < faults.count; i++) { /* what the whole tells comes last */
        size_t found = 0;
        while (found < faults.count && strncmp(faults.items[found].message, wanted[i], strlen(wanted[i])) != 0) {
            found++;
        }
        ck_assert_msg(found < faults.count, "%s", wanted[i]);
        ck_assert_str_eq(faults.items[i].pointer, "/config");
    }
    ck_assert(!faults.more);
    ck_assert_int_eq(read_json("{\"interface\":{\"private_key\":\"x\",\"mtu\":1},\"peers\":[{\"public_key\":\"" KEY_B "\",\"allowed_ips\":[\"x\"]},"
                               "{\"endpoint\":\"x\"}]}",
                               false),
                     -1);
    static const char *const pointers[] = {"/interface/private_key", "/interface/mtu",       "/peers/0/allowed_ips",
                                           "/peers/1/endpoint",      "/interface/addresses", "/peers/1/public_key"};
    ck_assert_uint_eq(faults.count, ARRAY_LEN(pointers));
    for (size_t i = 0; i < faults.count; i++) {
        ck_assert_str_eq(faults.items[i].pointer, pointers[i]);
    }
    AUTO_FREE char *many_faults = many(HEAD, "Nothing=@", WIREGUARD_FAULTS_MAX + 1);
    ck_assert_int_eq(read_text(many_faults, false), -1);
    ck_assert_uint_eq(faults.count, WIREGUARD_FAULTS_MAX);
    ck_assert(faults.more);
}
END_TEST

START_TEST(limits)
{
    AUTO_FREE char *addresses = many(HEAD, "Address=10.7.@", WIREGUARD_ADDRESSES_MAX - 1);
    AUTO_FREE char *too_many_addresses = many(HEAD, "Address=10.7.@", WIREGUARD_ADDRESSES_MAX);
    AUTO_FREE char *allowed = many(HEAD PEER, "AllowedIPs=10.7.@", WIREGUARD_ALLOWED_MAX);
    AUTO_FREE char *too_many_allowed = many(HEAD PEER, "AllowedIPs=10.7.@", WIREGUARD_ALLOWED_MAX + 1);
    AUTO_FREE char *large = calloc(1, WIREGUARD_TEXT_MAX + 2);
    AUTO_STRBUF peers = STRBUF_INIT;
    ck_assert_int_eq(read_text(addresses, false), 0);
    ck_assert_int_eq(read_text(too_many_addresses, false), -1);
    ck_assert_int_eq(read_text(allowed, false), 0);
    ck_assert_int_eq(read_text(too_many_allowed, false), -1);
    memset(large, '#', WIREGUARD_TEXT_MAX);
    memmove(large, HEAD, sizeof HEAD - 1);
    ck_assert_int_eq(read_text(large, false), 0);
    large[WIREGUARD_TEXT_MAX] = '#';
    ck_assert_int_eq(read_text(large, false), -1);
    strbuf_add(&peers, HEAD);
    for (unsigned i = 0; i <= WIREGUARD_PEERS_MAX; i++) {
        char text[WIREGUARD_KEY_TEXT_MAX];
        struct wireguard_key key = {.bytes = {1, (uint8_t)i}};
        ck_assert_int_eq(read_text(peers.data, false), 0);
        strbuf_addf(&peers, "[Peer]\nPublicKey=%s\n", wireguard_key_format(&key, text));
    }
    ck_assert_int_eq(read_text(peers.data, false), -1);
    ck_assert_ptr_nonnull(strstr(err.message, "peers at most"));
}
END_TEST

START_TEST(names_of_endpoints)
{
    char text[512];
    char label[64];
    memset(label, 'a', 63);
    label[63] = '\0';
    (void)snprintf(text, sizeof text, HEAD PEER "Endpoint=%s.%s.%s.%.61s:1\n", label, label, label, label);
    ck_assert_int_eq(read_text(text, false), 0);
    ck_assert_uint_eq(strlen(config.peers[0].host), 253);
    (void)snprintf(text, sizeof text, HEAD PEER "Endpoint=%s.%s.%s.%.62s:1\n", label, label, label, label);
    ck_assert_int_eq(read_text(text, false), -1);
    (void)snprintf(text, sizeof text, HEAD PEER "Endpoint=%sa.b:1\n", label);
    ck_assert_int_eq(read_text(text, false), -1);
}
END_TEST

#define FIELDS \
    "\"interface\":{\"private_key\":\"" KEY_A "\",\"addresses\":[\"10.0.0.2/32\"],\"mtu\":1400,\"listen_port\":7}," \
    "\"peers\":[{\"public_key\":\"" KEY_B "\",\"preshared_key\":\"" PSK "\",\"allowed_ips\":[\"0.0.0.0/0\"]," \
    "\"endpoint\":\"[2001:db8::1]:9\",\"persistent_keepalive\":25}]"

START_TEST(fields)
{
    ck_assert_msg(read_json("{" FIELDS "}", false) == 0, "%s", err.message);
    ck_assert(config.managed && config.route_all && config.fail_closed);
    ck_assert_str_eq(config.interface_name, WIREGUARD_INTERFACE_DEFAULT);
    ck_assert_uint_eq(config.route_table, WIREGUARD_TABLE_DEFAULT);
    ck_assert_uint_eq(config.listen_port, 7);
    ck_assert_uint_eq(config.peers[0].keepalive, 25);
    ck_assert_int_eq(read_json("{\"config\":\"[Interface]\\nPrivateKey=" KEY_A "\\nAddress=10.0.0.2\",\"interface_name\":\"wgx\","
                               "\"route_table\":4294967295,\"fail_closed\":false,\"route_all_vm_traffic\":false}",
                               false),
                     0);
    ck_assert(!config.route_all && !config.fail_closed);
    ck_assert_str_eq(config.interface_name, "wgx");
    ck_assert_int_eq(read_json("{\"existing_interface\":\"wg0\",\"route_table\":252}", false), 0);
    ck_assert(!config.managed);
    ck_assert_str_eq(config.interface_name, "wg0");
}
END_TEST

static const struct {
    const char *text;
    const char *pointer;
} refused_json[] = {
    {"{}", ""},
    {"{\"config\":\"x\"," FIELDS "}", ""},
    {"{\"existing_interface\":\"wg0\"," FIELDS "}", ""},
    {"{\"existing_interface\":\"wg0\",\"interface_name\":\"a\"}", ""},
    {"{\"existing_interface\":\"a/b\"}", "/existing_interface"},
    {"{\"existing_interface\":\"0123456789abcdef\"}", "/existing_interface"},
    {"{\"interface_name\":\"default\"," FIELDS "}", "/interface_name"},
    {"{\"existing_interface\":\"wg0\",\"route_table\":0}", "/route_table"},
    {"{\"existing_interface\":\"wg0\",\"route_table\":253}", "/route_table"},
    {"{\"existing_interface\":\"wg0\",\"route_table\":254}", "/route_table"},
    {"{\"existing_interface\":\"wg0\",\"route_table\":255}", "/route_table"},
    {"{\"existing_interface\":\"wg0\",\"route_table\":4294967296}", "/route_table"},
    {"{\"interface\":{\"addresses\":[\"10.0.0.2\"]}}", "/interface/private_key"},
    {"{\"interface\":{\"private_key\":\"" KEY_A "\"}}", "/interface/addresses"},
    {"{\"interface\":{\"private_key\":\"" KEY_A "\",\"addresses\":[\"fd00::1\"]}}", "/interface/addresses"},
    {"{\"interface\":{\"private_key\":\"" KEY_A "x\",\"addresses\":[\"10.0.0.2\"]}}", "/interface/private_key"},
    {"{\"interface\":{\"private_key\":\"" KEY_A "\",\"addresses\":[\"10.0.0.2\", \"" PSK "\"]}}", "/interface/addresses"},
    {"{\"interface\":{\"private_key\":\"" KEY_A "\",\"addresses\":[\"10.0.0.2\"]},\"peers\":[{}]}", "/peers/0/public_key"},
    {"{\"interface\":{\"private_key\":\"" KEY_A "\",\"addresses\":[\"10.0.0.2\"]},\"peers\":[{\"public_key\":\"x\"}]}", "/peers/0/public_key"},
    {"{\"interface\":{\"private_key\":\"" KEY_A "\",\"addresses\":[\"10.0.0.2\"]},\"peers\":[{\"public_key\":\"" KEY_B "\",\"persistent_keepalive\":65536}]}",
     "/peers/0/persistent_keepalive"},
    {"{\"config\":\"[Interface]\\nPostUp=x\"}", "/config"},
};

START_TEST(refuses_json)
{
    ck_assert_msg(read_json(refused_json[_i].text, false) != 0, "%s", refused_json[_i].text);
    ck_assert_msg(strcmp(faults.items[0].pointer, refused_json[_i].pointer) == 0, "%s: %s, %s", refused_json[_i].text, faults.items[0].pointer, err.message);
}
END_TEST

START_TEST(stored_and_loaded)
{
    AUTO_WIREGUARD again = {.managed = false};
    ck_assert_int_eq(read_text(HEAD "FwMark=7\n" PEER "PresharedKey=" PSK "\nEndpoint=a.b:5\nAllowedIPs=0.0.0.0/0\n[Peer]\nPublicKey=" KEY_C "\n", false), 0);
    memcpy(config.interface_name, "wgx", sizeof "wgx");
    config.managed = true;
    config.route_table = 7;
    AUTO_JSON *json = wireguard_json(&config);
    AUTO_JSON *secrets = wireguard_secrets_json(&config);
    AUTO_FREE char *text = json_text(json);
    ck_assert_ptr_null(strstr(text, "yAnz5"));
    ck_assert_ptr_null(strstr(text, "FpCyh"));
    ck_assert_int_eq(wireguard_load(json, NULL, &again, &err), 0);
    ck_assert(again.peers[1].has_preshared_key && wireguard_key_is_zero(&again.peers[1].preshared_key));
    wireguard_free(&again);
    ck_assert_int_eq(wireguard_load(json, secrets, &again, &err), 0);
    ck_assert(wireguard_key_equal(&again.private_key, &config.private_key));
    ck_assert(again.peers[1].has_preshared_key && wireguard_key_equal(&again.peers[1].preshared_key, &config.peers[1].preshared_key));
    ck_assert(!again.peers[0].has_preshared_key);
    ck_assert_uint_eq(again.fwmark, 7);
    AUTO_JSON *json_again = wireguard_json(&again);
    ck_assert(json_equal(json, json_again));
    wireguard_free(&again);
    (void)json_object_del(secrets, "private_key");
    ck_assert_int_eq(wireguard_load(json, secrets, &again, &err), -1);
}
END_TEST

START_TEST(keys)
{
    struct wireguard_key key;
    struct wireguard_key again;
    char text[WIREGUARD_KEY_HEX_MAX];
    ck_assert(wireguard_key_parse(KEY_A, &key));
    ck_assert_str_eq(wireguard_key_format(&key, text), KEY_A);
    ck_assert(wireguard_key_parse_hex(wireguard_key_format_hex(&key, text), &again));
    ck_assert(wireguard_key_equal(&key, &again));
    text[63] = 'g';
    ck_assert(!wireguard_key_parse_hex(text, &again));
    text[63] = '\0';
    ck_assert(!wireguard_key_parse_hex(text, &again));
    ck_assert(!wireguard_key_parse("", &again));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wireguard");
    TCase *tests = tcase_create("configuration");
    tcase_add_checked_fixture(tests, NULL, teardown);
    tcase_add_test(tests, a_whole_configuration);
    tcase_add_test(tests, private_keys_are_clamped);
    tcase_add_loop_test(tests, accepts, 0, (int)ARRAY_LEN(accepted));
    tcase_add_loop_test(tests, refuses, 0, (int)ARRAY_LEN(refused));
    tcase_add_test(tests, ipv6_where_it_is_on);
    tcase_add_test(tests, dual_stack_where_guests_have_no_ipv6);
    tcase_add_test(tests, much_that_is_left_out);
    tcase_add_test(tests, all_faults_at_once);
    tcase_add_test(tests, limits);
    tcase_add_test(tests, names_of_endpoints);
    tcase_add_test(tests, fields);
    tcase_add_loop_test(tests, refuses_json, 0, (int)ARRAY_LEN(refused_json));
    tcase_add_test(tests, stored_and_loaded);
    tcase_add_test(tests, keys);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
