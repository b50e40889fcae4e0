/* What nfnetlink says of chains, rules, sets and elements of the policies, as values. Private to host/nft*.c. */
#ifndef SMARTVM_HOST_NFT_POLICY_PARSE_H
#define SMARTVM_HOST_NFT_POLICY_PARSE_H

#include "host/nft/dump.h"
#include "host/nft/policy.h"

/* The beginning of a request for a dump of the inet family; buf has NFT_REQUEST_MAX bytes. */
struct nlmsghdr *nft_dump_request(char *buf, uint16_t type);
struct nlmsghdr *nft_get_request(char *buf, uint16_t type, uint32_t seq); /* of one thing */

/* The following three are callbacks for mnl_attr_parse(); what they point to lies in the message. */

struct nft_chain_names {
    const char *table, *chain;
};
int nft_parse_chain(const struct nlattr *attr, void *names);

struct nft_policy_rule_seen {
    const char *chain;
    bool known; /* the comment is one of ours */
    uint64_t digest;
    size_t position, count;
    int number; /* of the rule in the policy; or POLICY_BY_DEFAULT */
    struct nft_counter counter;
};
int nft_parse_policy_rule(const struct nlattr *attr, void *rule);

int nft_parse_set_name(const struct nlattr *attr, void *name); /* name: const char * */

/* "host_egress", "vm_12_ingress"; false for every other name. */
bool nft_parse_policy_chain(const char *name, int64_t *ret_uid, enum policy_direction_name *ret_direction);

struct nft_element_seen {
    const uint8_t *key;
    size_t key_bytes;
    bool ends; /* an interval */
    int32_t verdict;
    const char *chain; /* of the verdict, or NULL */
};
/* As struct nft_dump, for the elements of a set or map. */
struct nft_element_dump {
    void (*begin)(void *ctx);
    void (*each)(const struct nft_element_seen *element, void *ctx);
    bool (*has_doubles)(void *ctx); /* NULL: intervals, which are in no hash table */
    void *ctx;
};
/* Returns 0 or a positive errno, as nft_query(). */
int nft_dump_elements(struct mnl_socket *nl, const char *mark, const char *set, const struct nft_element_dump *elements);

/* The ends of intervals, as a digest that does not depend on their order. */
struct nft_set_ends {
    uint8_t *bytes; /* owned (free); of each: key, padded to 16 bytes, and a byte that is 1 where an interval ends */
    size_t count;
};
enum { NFT_SET_END_BYTES = 17 };
#define NFT_SET_DIGEST_START UINT64_C(0xcbf29ce484222325)
bool nft_set_ends_add(struct nft_set_ends *ends, const uint8_t *key, size_t key_bytes, bool second); /* false: out of memory */
uint64_t nft_set_ends_digest(struct nft_set_ends *ends, uint8_t version, uint64_t before);

#endif
