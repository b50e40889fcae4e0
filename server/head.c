#include "server/http.h"

#include "api/spec/target.h"
#include "core/net_addr.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* "name: value\r\n" has this much beside the two. */
enum { HEADER_OVERHEAD = 4, REQUEST_ID_MAX = 36 };

static enum MHD_Result take_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    struct request *request = cls;
    if (request->api.header_count == LIMIT_HEADERS) {
        request->too_many_headers = true;
        return MHD_NO;
    }
    struct api_header *header = &request->headers[request->api.header_count++];
    header->name = name;
    header->value = value != NULL ? value : "";
    request->header_bytes += strlen(header->name) + strlen(header->value) + HEADER_OVERHEAD;
    return MHD_YES;
}

/* The texts stay libmicrohttpd's and live as long as the request. */
void head_read(struct request *request)
{
    (void)MHD_get_connection_values(request->connection, MHD_HEADER_KIND, take_header, request);
}

static const char *find_header(const struct request *request, const char *name, size_t *ret_count)
{
    const char *found = NULL;
    size_t count = 0;
    for (size_t i = 0; i < request->api.header_count; i++) {
        if (strcasecmp(request->headers[i].name, name) == 0) {
            found = count++ == 0 ? request->headers[i].value : found;
        }
    }
    *ret_count = count;
    return found;
}

static bool is_request_id(const char *text)
{
    size_t len = strlen(text);
    if (len < 1 || len > REQUEST_ID_MAX) {
        return false;
    }
    for (const char *p = text; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p) && *p != '.' && *p != '_' && *p != '-') {
            return false;
        }
    }
    return true;
}

/* splitmix64 of a counter: every number differs, and none tells how many requests there were. */
static uint64_t scramble(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

void head_set_request_id(struct request *request)
{
    static const char digits[] = "0123456789abcdef";
    size_t count = 0;
    const char *given = find_header(request, "X-Request-Id", &count);
    char *id = request->api.request_id;
    if (given != NULL && count == 1 && is_request_id(given)) {
        memcpy(id, given, strlen(given) + 1);
        return;
    }
    struct server *server = request->listener->server;
    server->next_id += 0x9e3779b97f4a7c15U;
    uint64_t number = scramble(server->next_id);
    for (int i = 0; i < 16; i++) {
        id[i] = digits[number >> 60];
        number <<= 4;
    }
    id[16] = '\0';
}

/* "localhost", "127.0.0.1" or "[::1]", with or without a port. */
static bool is_loopback(const char *host, size_t host_len)
{
    char name[64];
    size_t len = 0;
    const char *end_of_name = host[0] == '[' ? "]" : ":";
    while (len < host_len && strchr(end_of_name, host[len]) == NULL) {
        len++;
    }
    len += len < host_len && host[len] == ']' ? 1 : 0;
    size_t left = host_len - len;
    if (len >= sizeof name || (left > 0 && (host[len] != ':' || strspn(host + len + 1, "0123456789") < left - 1))) {
        return false;
    }
    memcpy(name, host, len);
    name[len] = '\0';
    uint32_t address = 0;
    return strcasecmp(name, "localhost") == 0 || strcmp(name, "[::1]") == 0 || (ipv4_parse(name, &address) && address >> 24 == 127);
}

static const char *after_scheme(const char *origin)
{
    if (strncasecmp(origin, "https://", 8) == 0) {
        return origin + 8;
    }
    return strncasecmp(origin, "http://", 7) == 0 ? origin + 7 : "";
}

/*
 * A page in a browser of this host can reach a loopback port. One of another site shows itself by its Origin,
 * and one that had its own name resolved to 127.0.0.1 by its Host.
 */
static int check_local(const struct request *request, const char *host, struct error *err)
{
    size_t count = 0;
    size_t host_len = 0;
    const char *origin = find_header(request, "Origin", &count);
    const char *authority = target_authority(request->target, &host_len);
    if (authority == NULL && host != NULL) { /* an absolute-form counts instead of Host (RFC 9112, 3.2.2) */
        authority = host;
        host_len = strlen(host);
    }
    if (authority == NULL || !is_loopback(authority, host_len)) {
        return error_set(err, ERR_BAD_REQUEST, "on this socket the Host header must name the loopback interface");
    }
    if (count > 1 || (origin != NULL && !is_loopback(after_scheme(origin), strlen(after_scheme(origin))))) {
        return error_set(err, ERR_BAD_REQUEST, "on this socket requests from pages of other sites are refused");
    }
    return 0;
}

/* A coding that is not known leaves open where the body ends (RFC 9112, 6.1). */
static int check_coding(const char *encoding, size_t count, const char *version, struct error *err)
{
    if (count == 0) {
        return 0;
    }
    if (strcmp(version, "HTTP/1.1") != 0) {
        return error_set(err, ERR_BAD_REQUEST, "%s has no Transfer-Encoding", version);
    }
    if (count == 1 && strcasecmp(encoding, "chunked") == 0) {
        return 0;
    }
    return count > 1 || strncasecmp(encoding, "chunked", strlen("chunked")) == 0
               ? error_set(err, ERR_BAD_REQUEST, "the Transfer-Encoding must be chunked, once")
               : error_set(err, ERR_NOT_IMPLEMENTED, "the only Transfer-Encoding is chunked");
}

/* What is asked for before the body is sent (RFC 9110, 10.1.1). */
static int check_expectation(const struct request *request, const char *version, struct error *err)
{
    size_t count = 0;
    const char *expect = find_header(request, "Expect", &count);
    if (count == 0 || strcmp(version, "HTTP/1.1") != 0 || (count == 1 && strcasecmp(expect, "100-continue") == 0)) {
        return 0;
    }
    return error_set(err, ERR_EXPECTATION_FAILED, "the only expectation is 100-continue");
}

/* What two readers of one request could understand differently is refused. */
static int check_framing(const struct request *request, const char *version, struct error *err)
{
    size_t hosts = 0;
    size_t lengths = 0;
    size_t encodings = 0;
    const char *host = find_header(request, "Host", &hosts);
    const char *encoding = find_header(request, "Transfer-Encoding", &encodings);
    (void)find_header(request, "Content-Length", &lengths);
    if (hosts > 1 || (hosts == 0 && strcmp(version, "HTTP/1.1") == 0)) {
        return error_set(err, ERR_BAD_REQUEST, "there must be exactly one Host header");
    }
    if (host != NULL && !target_is_authority(host, strlen(host))) {
        return error_set(err, ERR_BAD_REQUEST, "the Host header does not hold a host");
    }
    if (lengths > 1 || (lengths > 0 && encodings > 0)) {
        return error_set(err, ERR_BAD_REQUEST, "the length of the body is given more than once");
    }
    if (check_coding(encoding, encodings, version, err) != 0 || check_expectation(request, version, err) != 0) {
        return -1;
    }
    return request->listener->is_tcp ? check_local(request, host, err) : 0;
}

static int check_sizes(const struct request *request, struct error *err)
{
    if (request->target_len > LIMIT_TARGET_BYTES) {
        return error_set(err, ERR_URI_TOO_LONG, "the request target is longer than %d bytes", LIMIT_TARGET_BYTES);
    }
    if (request->too_many_headers) {
        return error_set(err, ERR_HEADERS_TOO_LARGE, "there are more than %d header fields", LIMIT_HEADERS);
    }
    if (request->header_bytes > LIMIT_HEADER_BYTES) {
        return error_set(err, ERR_HEADERS_TOO_LARGE, "the header fields are larger than %d bytes", LIMIT_HEADER_BYTES);
    }
    return 0;
}

int head_check(struct request *request, const char *version, struct error *err)
{
    size_t lengths = 0;
    size_t encodings = 0;
    const char *length = find_header(request, "Content-Length", &lengths);
    (void)find_header(request, "Transfer-Encoding", &encodings);
    request->has_body = encodings > 0 || (length != NULL && strspn(length, "0") != strlen(length));
    if (check_sizes(request, err) < 0 || check_framing(request, version, err) < 0) {
        return -1;
    }
    /* libmicrohttpd has refused what is not a number by now. */
    if (length != NULL && strtoull(length, NULL, 10) > LIMIT_BODY_BYTES) {
        return error_set(err, ERR_PAYLOAD_TOO_LARGE, "the request body is larger than %d bytes", LIMIT_BODY_BYTES);
    }
    return 0;
}
