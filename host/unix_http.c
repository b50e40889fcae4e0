#include "host/unix_http.h"

#include "core/cleanup.h"
#include "core/strbuf.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { URL_MAX = 256 };

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void start_curl(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void cleanup_curl(CURL **curl)
{
    curl_easy_cleanup(*curl);
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
        return error_set(err, ERR_VMM_FAILED, "the answer on %s is longer than %d bytes", socket,
                         UNIX_HTTP_REPLY_MAX);
    default:
        return error_set(err, ERR_VMM_FAILED, "the call to %s failed: %s", socket, curl_easy_strerror(code));
    }
}

/* NOSIGNAL: libcurl's own timeouts must not use SIGALRM in a program with threads. PROXY "": whatever the
 * environment says. */
static void set_options(CURL *curl, const char *socket, const char *url, const char *method, const char *body,
                        const struct curl_slist *headers, int timeout_ms)
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

int unix_http_call(const char *socket, const char *method, const char *target, const char *body,
                   int timeout_ms, struct unix_http_reply *ret, struct error *err)
{
    (void)pthread_once(&curl_once, start_curl);
    char url[URL_MAX];
    if (snprintf(url, sizeof url, "http://localhost%s", target) >= (int)sizeof url) {
        return error_set(err, ERR_VMM_FAILED, "%s is too long for a request", target);
    }
    __attribute__((cleanup(cleanup_curl))) CURL *curl = curl_easy_init();
    __attribute__((cleanup(cleanup_slist))) struct curl_slist *headers =
        curl_slist_append(NULL, "Content-Type: application/json");
    if (curl == NULL || headers == NULL) {
        return error_oom(err);
    }
    AUTO_STRBUF reply = STRBUF_INIT;
    set_options(curl, socket, url, method, body, headers, timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply);
    CURLcode code = curl_easy_perform(curl);
    if (code != CURLE_OK) {
        return reply.failed ? error_oom(err) : explain(curl, code, socket, timeout_ms, err);
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
