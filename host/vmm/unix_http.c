#include "host/vmm/unix_http.h"

#include "core/cleanup.h"
#include "core/strbuf.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum {
    URL_MAX = 256,
    PATIENCE_MS = 50, /* without an answer, before it is asked whether there is any hope */
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void start_curl(void)
{
    (void)curl_global_init(CURL_GLOBAL_NOTHING); /* nothing here speaks TLS */
}

static void cleanup_curl(CURL **curl)
{
    curl_easy_cleanup(*curl);
}

static void cleanup_multi(CURLM **multi)
{
    (void)curl_multi_cleanup(*multi);
}

static void cleanup_slist(struct curl_slist **list)
{
    curl_slist_free_all(*list);
}

void unix_http_reply_free(struct unix_http_reply *reply)
{
    free(reply->body);
    *reply = UNIX_HTTP_REPLY_INIT;
}

/* libcurl stops the transfer when this takes less than it was given. */
static size_t take_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct strbuf *body = ctx;
    size_t len = size * count;
    if (len > UNIX_HTTP_REPLY_MAX - body->len) {
        return 0;
    }
    strbuf_add_bytes(body, bytes, len);
    return body->failed ? 0 : len;
}

struct connection {
    int fd;
    const struct unix_http_check *check;
    size_t header_bytes; /* so far; trailers, too, which libcurl would keep without end */
    bool refused;        /* by the check, which has filled `err` */
    struct error *err;
};

/* Called before the connection is made: keeps its descriptor. */
static int note_socket(void *ctx, curl_socket_t fd, curlsocktype purpose)
{
    struct connection *connection = ctx;
    (void)purpose;
    connection->fd = fd;
    return CURL_SOCKOPT_OK;
}

/* Called for each line of a head, and for each trailer. */
static size_t take_header(char *bytes, size_t size, size_t count, void *ctx)
{
    struct connection *connection = ctx;
    (void)bytes;
    connection->header_bytes += size * count;
    return connection->header_bytes <= UNIX_HTTP_REPLY_MAX ? size * count : 0;
}

/* Called when it is made, before the request. */
static int check_peer(void *ctx, char *primary, char *local, int primary_port, int local_port)
{
    struct connection *connection = ctx;
    (void)primary;
    (void)local;
    (void)primary_port;
    (void)local_port;
    connection->refused = connection->check != NULL && connection->check->check(connection->check->ctx, connection->fd, connection->err) != 0;
    return connection->refused ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static bool is_hopeless(unix_http_hopeless *hopeless, int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    return hopeless != NULL && fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0 && hopeless(peer.pid);
}

/* *ret_gone: given up, since the peer will never answer. */
static CURLcode transfer(CURL *curl, struct connection *connection, unix_http_hopeless *hopeless, bool *ret_gone)
{
    int running = 1;
    __attribute__((cleanup(cleanup_multi))) CURLM *multi = curl_multi_init();
    (void)curl_easy_setopt(curl, CURLOPT_SOCKOPTFUNCTION, note_socket);
    (void)curl_easy_setopt(curl, CURLOPT_SOCKOPTDATA, connection);
    (void)curl_easy_setopt(curl, CURLOPT_PREREQFUNCTION, check_peer);
    (void)curl_easy_setopt(curl, CURLOPT_PREREQDATA, connection);
    if (multi == NULL || curl_multi_add_handle(multi, curl) != CURLM_OK) {
        return CURLE_OUT_OF_MEMORY;
    }
    CURLcode code = CURLE_OK;
    while (!*ret_gone && curl_multi_perform(multi, &running) == CURLM_OK && running > 0) {
        int active = 0;
        (void)curl_multi_poll(multi, NULL, 0, PATIENCE_MS, &active);
        *ret_gone = active == 0 && is_hopeless(hopeless, connection->fd);
    }
    int left = 0;
    const CURLMsg *message = curl_multi_info_read(multi, &left);
    if (message != NULL) {
        code = message->data.result;
    } else if (running > 0 && !*ret_gone) {
        code = CURLE_FAILED_INIT;
    }
    (void)curl_multi_remove_handle(multi, curl);
    return code;
}

static int explain(CURL *curl, CURLcode code, const char *socket, int timeout_ms, struct error *err)
{
    long sys_errno = 0;
    switch ((int)code) {
    case CURLE_OPERATION_TIMEDOUT:
        return error_set(err, ERR_TIMEOUT, "no answer on %s within %d ms", socket, timeout_ms);
    case CURLE_COULDNT_CONNECT:
        (void)curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &sys_errno);
        return error_sys(err, ERR_VMM_FAILED, (int)sys_errno, "nobody listens on %s", socket);
    case CURLE_OUT_OF_MEMORY:
        return error_oom(err);
    case CURLE_WRITE_ERROR:
        return error_set(err, ERR_VMM_FAILED, "the answer on %s is longer than %d bytes", socket, UNIX_HTTP_REPLY_MAX);
    default:
        return error_set(err, ERR_VMM_FAILED, "the call to %s failed: %s", socket, curl_easy_strerror(code));
    }
}

/* NOSIGNAL: libcurl's own timeouts must not use SIGALRM in a program with threads. PROXY "": whatever the
 * environment says. */
static void set_options(CURL *curl, const char *socket, const char *url, const char *method, const char *body, const struct curl_slist *headers, int timeout_ms)
{
    (void)curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms < 1 ? 1L : (long)timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    if (body != NULL) {
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
}

int unix_http_call(const char *socket, const struct unix_http_check *check, const char *method, const char *target, const char *body, int timeout_ms,
                   unix_http_hopeless *hopeless, struct unix_http_reply *ret, struct error *err)
{
    (void)pthread_once(&curl_once, start_curl);
    char url[URL_MAX];
    if (snprintf(url, sizeof url, "http://localhost%s", target) >= (int)sizeof url) {
        return error_set(err, ERR_VMM_FAILED, "%s is too long for a request", target);
    }
    __attribute__((cleanup(cleanup_curl))) CURL *curl = curl_easy_init();
    __attribute__((cleanup(cleanup_slist))) struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (curl == NULL || headers == NULL) {
        return error_oom(err);
    }
    AUTO_STRBUF reply = STRBUF_INIT;
    set_options(curl, socket, url, method, body, headers, timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply);
    bool gone = false;
    const char *name = check != NULL ? check->name : socket;
    struct connection connection = {.fd = -1, .check = check, .err = err};
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, &connection);
    CURLcode code = transfer(curl, &connection, hopeless, &gone);
    if (connection.refused) {
        return -1;
    }
    if (gone) {
        return error_sys(err, ERR_VMM_FAILED, EOWNERDEAD, "no answer on %s, and none to come", name);
    }
    if (code != CURLE_OK) {
        return reply.failed ? error_oom(err) : explain(curl, code, name, timeout_ms, err);
    }
    size_t len = reply.len;
    char *text = strbuf_take(&reply);
    if (text == NULL) {
        return error_oom(err);
    }
    *ret = (struct unix_http_reply){.body = text, .len = len};
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ret->status);
    return 0;
}
