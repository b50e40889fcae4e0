#include "worker/slow_question.h"

#include "core/cleanup.h"
#include "core/ipc.h"
#include "core/limits.h"
#include "worker/question.h"

#include <string.h>

struct item {
    uint64_t number;
    char *text;
    int fd; /* that came with it, or -1 */
};

/* One that waits for a VM that is worked on holds up nothing else. */
enum { THREADS = 2 };

struct slow_questions {
    struct worker *worker;
    pthread_t threads[THREADS];
    size_t thread_count;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct item items[LIMIT_SLOW_QUESTIONS]; /* a ring */
    size_t first, count;
    bool stopped;
};

/* False when it is over. */
static bool take(struct slow_questions *slow, struct item *ret)
{
    (void)pthread_mutex_lock(&slow->lock);
    while (slow->count == 0 && !slow->stopped) {
        (void)pthread_cond_wait(&slow->changed, &slow->lock);
    }
    bool stopped = slow->stopped;
    if (!stopped) {
        *ret = slow->items[slow->first];
        slow->first = (slow->first + 1) % LIMIT_SLOW_QUESTIONS;
        slow->count--;
    }
    (void)pthread_mutex_unlock(&slow->lock);
    return !stopped;
}

static void *work(void *arg)
{
    struct slow_questions *slow = arg;
    struct item item;
    while (take(slow, &item)) {
        AUTO_FREE char *text = item.text;
        AUTO_FREE char *answer = NULL;
        AUTO_CLOSE int handed_over = item.fd;
        AUTO_CLOSE int fd = -1;
        question_answer(slow->worker, text, handed_over, &answer, &fd);
        if (answer != NULL) {
            (void)ipc_send(slow->worker->api_socket, IPC_ANSWER, item.number, answer, fd, NULL);
        }
    }
    return NULL;
}

int slow_questions_start(struct worker *worker, struct slow_questions **ret, struct error *err)
{
    struct slow_questions *slow = calloc(1, sizeof *slow);
    if (slow == NULL) {
        return error_oom(err);
    }
    slow->worker = worker;
    (void)pthread_mutex_init(&slow->lock, NULL);
    (void)pthread_cond_init(&slow->changed, NULL);
    for (; slow->thread_count < THREADS; slow->thread_count++) {
        int rc = pthread_create(&slow->threads[slow->thread_count], NULL, work, slow);
        if (rc != 0) {
            slow_questions_stop(slow);
            return error_sys(err, ERR_SYSTEM, rc, "a thread for questions could not be started");
        }
    }
    *ret = slow;
    return 0;
}

void slow_questions_stop(struct slow_questions *slow)
{
    if (slow == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&slow->lock);
    slow->stopped = true;
    (void)pthread_cond_broadcast(&slow->changed);
    (void)pthread_mutex_unlock(&slow->lock);
    for (size_t i = 0; i < slow->thread_count; i++) {
        (void)pthread_join(slow->threads[i], NULL);
    }
    for (size_t i = 0; i < slow->count; i++) {
        const struct item *item = &slow->items[(slow->first + i) % LIMIT_SLOW_QUESTIONS];
        free(item->text);
        if (item->fd >= 0) {
            (void)close(item->fd);
        }
    }
    (void)pthread_cond_destroy(&slow->changed);
    (void)pthread_mutex_destroy(&slow->lock);
    free(slow);
}

bool slow_questions_add(struct slow_questions *slow, uint64_t number, const char *text, int fd)
{
    char *copy = strdup(text);
    (void)pthread_mutex_lock(&slow->lock);
    bool fits = copy != NULL && slow->count < LIMIT_SLOW_QUESTIONS;
    if (fits) {
        slow->items[(slow->first + slow->count++) % LIMIT_SLOW_QUESTIONS] = (struct item){number, copy, fd};
        (void)pthread_cond_signal(&slow->changed);
    }
    (void)pthread_mutex_unlock(&slow->lock);
    if (!fits) {
        free(copy);
    }
    return fits;
}
