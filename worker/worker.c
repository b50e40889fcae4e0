#include "worker/worker.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/ipc.h"
#include "core/limits.h"
#include "host/process/shim.h"
#include "worker/border/wanted.h"
#include "worker/context.h"
#include "worker/host_facts.h"
#include "worker/image/image.h"
#include "worker/keeper.h"
#include "worker/memory.h"
#include "worker/news.h"
#include "worker/question.h"
#include "worker/reconcilers.h"
#include "worker/seal_key.h"
#include "worker/slow_question.h"
#include "worker/sweep.h"
#include "worker/telling.h"
#include "worker/vm/console_hub.h"
#include "worker/vm/runtime.h"
#include "worker/vm/stage.h"
#include "worker/vm/uids.h"
#include "worker/wireguard/wireguard.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>

enum {
    API_RESTART_MS = 100,
    THREADS_MAX = 64,
    KVM_PROBE_DELAY_MAX_S = 2,
    MESSAGES_PER_TURN = 256, /* of the API process, so that one which sends without end holds up nothing else */
};

struct main_loop {
    struct worker *worker;
    const struct worker_setup *setup;
    int signals, api_process;
    struct keeper keeper;
    struct news news;
    int64_t api_restart_ms; /* when to start it again, 0: not due */
    bool stopping;
};

static void log_failure(const char *event, const char *key, const struct error *err)
{
    log_event(LOG_WARN, event, "key", key, "code", error_code_name(err->code), "message", err->message, NULL);
}

/* The whole host was looked at once: the daemon is ready, when that is written down. Until then the key "settled" comes back. */
static int note_settled(struct worker *worker, struct error *err)
{
    bool before = false;
    char ms[24];
    if (atomic_load(&worker->settled) || !queue_is_past_mark(worker->queue) || !atomic_compare_exchange_strong(&worker->settled, &before, true)) {
        return 0;
    }
    if (border_fact_set(worker->border, FACT_WORKER, "{\"ready\":true}", NULL, err) != 0) {
        atomic_store(&worker->settled, false);
        return -1;
    }
    (void)snprintf(ms, sizeof ms, "%lld", (long long)(clock_monotonic_ms() - worker->start_ms));
    log_event(LOG_INFO, "worker.settled", "ms", ms, NULL);
    worker_notify(worker, "worker");
    worker->setup->ready(worker->setup->ctx);
    (void)sem_post(&worker->settled_once);
    return 0;
}

static void work_on(struct worker *worker, struct queue *queue)
{
    char key[QUEUE_KEY_MAX];
    while (queue_take(queue, key)) {
        struct error err = {0};
        int result = reconcile_key(worker, key, &err);
        if (result != 0) {
            log_failure("worker.reconcile_failed", key, &err);
        }
        queue_done(queue, key, result != 0);
        if (note_settled(worker, &err) != 0) {
            log_failure("worker.settle_failed", key, &err);
            (void)queue_add(worker->queue, "settled");
        }
    }
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    work_on(worker, worker->queue);
    return NULL;
}

static void *work_images(void *arg)
{
    struct worker *worker = arg;
    work_on(worker, worker->image_queue);
    return NULL;
}

/* A second of a whole processor where KVM is slow: VMs that run already are looked at first, and only `vmm: auto` waits for this. */
static void *probe_kvm(void *arg)
{
    struct worker *worker = arg;
    struct timespec limit;
    (void)clock_gettime(CLOCK_MONOTONIC, &limit);
    limit.tv_sec += KVM_PROBE_DELAY_MAX_S;
    while (sem_clockwait(&worker->settled_once, CLOCK_MONOTONIC, &limit) != 0 && errno == EINTR) {
    }
    host_facts_probe_kvm(worker);
    (void)queue_add(worker->queue, QUEUE_EVERYTHING);
    return NULL;
}

static void on_question(struct worker *worker, struct ipc_message *question)
{
    AUTO_FREE char *text = NULL;
    const char *answer = NULL;
    AUTO_CLOSE int fd = -1;
    struct error err = {0};
    if (!question_is_slow(question->text)) {
        question_answer(worker, question->text, question->fd, &text, &fd);
    } else if (slow_questions_add(worker->slow_questions, question->number, question->text, question->fd)) {
        question->fd = -1;
        return;
    } else {
        answer = "{\"error\":{\"code\":\"UNAVAILABLE\",\"message\":\"too many questions wait already\"}}";
    }
    answer = text != NULL ? text : answer;
    if (answer != NULL && ipc_send(worker->api_socket, IPC_ANSWER, question->number, answer, fd, &err) != 0) {
        log_failure("worker.answer_failed", "", &err);
    }
}

/* It has ended; or it goes on without talking to us, and would keep the main loop busy with that. */
static void end_api(struct main_loop *loop)
{
    (void)epoll_ctl(loop->worker->epoll, EPOLL_CTL_DEL, loop->worker->api_socket, NULL);
    if (loop->api_process >= 0) {
        (void)process_signal(loop->api_process, SIGKILL, NULL);
    }
}

static void on_api_socket(struct main_loop *loop, uint32_t events)
{
    struct worker *worker = loop->worker;
    struct ipc_message message;
    bool closed = false;
    for (int i = 0; i < MESSAGES_PER_TURN && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0; i++) {
        if (ipc_receive(worker->api_socket, &message, &closed, NULL) != 0) {
            break;
        }
        if (message.type == IPC_WAKE) {
            reconcilers_wake(worker, message.text);
        } else if (message.type == IPC_QUESTION) {
            on_question(worker, &message);
        }
        ipc_message_free(&message);
    }
    if (closed) {
        end_api(loop);
        return;
    }
    if ((events & EPOLLOUT) != 0 && ipc_send(worker->api_socket, IPC_CHANGED, 0, "", -1, NULL) == 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = EPOLL_DATA(EPOLL_TAG_API_SOCKET, 0)};
        atomic_store(&worker->api_behind, false);
        (void)epoll_ctl(worker->epoll, EPOLL_CTL_MOD, worker->api_socket, &event);
    }
}

static int watch(struct worker *worker, int fd, enum epoll_tag tag, struct error *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = EPOLL_DATA(tag, 0)};
    if (epoll_ctl(worker->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        return error_sys(err, ERR_SYSTEM, errno, "a descriptor could not be watched");
    }
    return 0;
}

/* Under the number of the one before, which other threads send to at any time. */
static int take_api_socket(struct worker *worker, int given, struct error *err)
{
    AUTO_CLOSE int socket = given;
    (void)epoll_ctl(worker->epoll, EPOLL_CTL_DEL, worker->api_socket, NULL);
    if (dup3(socket, worker->api_socket, O_CLOEXEC) < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "the socket of the API process could not be taken over");
    }
    atomic_store(&worker->api_behind, false);
    return watch(worker, worker->api_socket, EPOLL_TAG_API_SOCKET, err);
}

static void start_api(struct main_loop *loop)
{
    struct error err = {0};
    int socket = -1;
    loop->api_restart_ms = 0;
    loop->api_process = loop->setup->start_api(loop->setup->ctx, &socket, &err);
    if (loop->api_process < 0 || take_api_socket(loop->worker, socket, &err) != 0 || watch(loop->worker, loop->api_process, EPOLL_TAG_API_PROCESS, &err) != 0) {
        if (loop->api_process >= 0) { /* nobody would see its end */
            (void)process_signal(loop->api_process, SIGKILL, NULL);
            (void)process_wait(loop->api_process, 5000, &(int){0}, NULL);
            (void)close(loop->api_process);
            loop->api_process = -1;
        }
        log_failure("api.start_failed", "", &err);
        loop->api_restart_ms = clock_monotonic_ms() + API_RESTART_MS;
    }
}

static void on_api_process(struct main_loop *loop)
{
    char text[PROCESS_STATUS_TEXT_MAX];
    int status = -1;
    (void)process_wait(loop->api_process, 0, &status, NULL);
    log_event(LOG_ERROR, "api.ended", "how", process_status_text(status, text), NULL);
    /* close() alone leaves it in the epoll as long as a child that has not executed its program yet holds a copy: epoll(7), question 6. */
    (void)epoll_ctl(loop->worker->epoll, EPOLL_CTL_DEL, loop->api_process, NULL);
    (void)close(loop->api_process);
    loop->api_process = -1;
    loop->api_restart_ms = clock_monotonic_ms() + API_RESTART_MS;
    /* It may have died between a commit and its wake-up. */
    (void)queue_add(loop->worker->queue, QUEUE_EVERYTHING);
}

/* With a new file of the database: the API process has the old one open. */
static void on_keeper_socket(struct main_loop *loop)
{
    bool anew = false;
    keeper_on_socket(&loop->keeper, &anew);
    if (anew && loop->api_process >= 0) {
        (void)process_signal(loop->api_process, SIGKILL, NULL);
    }
}

static void on_vmm(struct worker *worker, int64_t uid)
{
    char id[64];
    if (runtimes_id(worker->runtimes, uid, id)) {
        char key[QUEUE_KEY_MAX];
        (void)snprintf(key, sizeof key, "vm/%s", id);
        (void)queue_add(worker->queue, key);
    }
}

static void on_event(struct main_loop *loop, const struct epoll_event *event)
{
    struct signalfd_siginfo info;
    switch ((enum epoll_tag)(event->data.u64 >> 56)) {
    case EPOLL_TAG_VMM:
        on_vmm(loop->worker, (int64_t)(event->data.u64 & (UINT64_MAX >> 8)));
        break;
    case EPOLL_TAG_API_SOCKET:
        on_api_socket(loop, event->events);
        break;
    case EPOLL_TAG_SIGNAL:
        loop->stopping = read(loop->signals, &info, sizeof info) == (ssize_t)sizeof info;
        break;
    case EPOLL_TAG_API_PROCESS:
        on_api_process(loop);
        break;
    case EPOLL_TAG_KEEPER_PROCESS:
        keeper_on_process(&loop->keeper);
        break;
    case EPOLL_TAG_KEEPER_SOCKET:
        on_keeper_socket(loop);
        break;
    case EPOLL_TAG_KEEPER_BROKEN:
        keeper_on_broken(&loop->keeper);
        break;
    case EPOLL_TAG_LINKS:
        news_on_links(loop->worker, &loop->news);
        break;
    case EPOLL_TAG_NFT:
        news_on_nft(loop->worker, &loop->news);
        break;
    case EPOLL_TAG_SWEEP:
        news_on_sweep(loop->worker, &loop->news);
        break;
    }
}

/* Until the next deadline; -1: there is none. */
static int wait_ms(const struct main_loop *loop)
{
    const int64_t deadlines[] = {loop->api_restart_ms, loop->keeper.deadline_ms};
    int64_t first = -1;
    for (size_t i = 0; i < ARRAY_LEN(deadlines); i++) {
        int64_t left = deadlines[i] - clock_monotonic_ms();
        if (deadlines[i] != 0 && (first < 0 || left < first)) {
            first = left > 0 ? left : 0;
        }
    }
    return (int)first;
}

static void run_loop(struct main_loop *loop)
{
    struct epoll_event events[64];
    while (!loop->stopping) {
        int n = epoll_wait(loop->worker->epoll, events, (int)ARRAY_LEN(events), wait_ms(loop));
        for (int i = 0; i < n; i++) {
            on_event(loop, &events[i]);
        }
        if (loop->stopping) {
            return;
        }
        keeper_on_deadline(&loop->keeper);
        if (loop->api_restart_ms != 0 && clock_monotonic_ms() >= loop->api_restart_ms) {
            start_api(loop);
        }
    }
}

static int make_directories(struct worker *worker, struct error *err)
{
    char vm_dir[128];
    (void)snprintf(vm_dir, sizeof vm_dir, "%s/vm", worker->config->run_dir);
    (void)snprintf(worker->jail_place, sizeof worker->jail_place, "%.290s/jail", worker->config->run_dir);
    if (stage_make_directory(worker->store_root, err) != 0 || stage_make_directory(vm_dir, err) != 0 || stage_make_directory(worker->jail_place, err) != 0) {
        return -1;
    }
    return stage_root_choose(worker->config, worker->mark, true, worker->stage_root, err);
}

/* Whoever has an account with the uid of a VMM could kill it, and be killed by it. */
static int open_uids(struct worker *worker, struct error *err)
{
    const struct config *config = worker->config;
    char words[UIDS_WORDS_MAX];
    if (uids_check_range("/etc", config->vmm.uid_first, config->vmm.uid_count, words, err) != 0) {
        return -1;
    }
    if (words[0] != '\0') {
        return error_set(err, ERR_INVALID_CONFIG, "vmm.uid_first, vmm.uid_count: uids %u to %u are not free: %s", (unsigned)config->vmm.uid_first,
                         (unsigned)(config->vmm.uid_first + config->vmm.uid_count - 1), words);
    }
    return uids_open(UIDS_DIR, config, &worker->uids, err);
}

/* Those in force: PATCH /network may have changed what is configured. */
static int claim_subnets(struct worker *worker, struct error *err)
{
    const struct network_settings *settings = &worker->network.settings;
    char text[IP_NET_TEXT_MAX];
    if (claim_take(worker->claims, CLAIM_SUBNET, ipv4_net_format(settings->subnet, text), CLAIM_PATIENCE_MS, err) != 0) {
        return -1;
    }
    return network_has_ipv6(settings) ? claim_take(worker->claims, CLAIM_SUBNET6, ip_net_format(&settings->subnet6, text), CLAIM_PATIENCE_MS, err) : 0;
}

/* Until the API process is there: whoever has something to tell learns that nobody listens. */
static int open_api_socket(struct worker *worker, struct error *err)
{
    int pair[2];
    if (ipc_pair(pair, err) != 0) {
        return -1;
    }
    (void)close(pair[1]);
    worker->api_socket = pair[0];
    return 0;
}

static int fill_worker(struct worker *worker, const struct worker_setup *setup, struct keeper *keeper, struct error *err)
{
    const struct config *config = setup->config;
    worker->config = config;
    worker->setup = setup;
    worker->start_ms = clock_monotonic_ms();
    worker->start_wall_ms = clock_wall_ms();
    worker->claims = setup->claims;
    config_mark(config, worker->mark);
    (void)snprintf(worker->store_root, sizeof worker->store_root, "%.280s/images", config->state_dir);
    (void)pthread_mutex_init(&worker->facts.lock, NULL);
    (void)pthread_mutex_init(&worker->facts.looking, NULL);
    (void)sem_init(&worker->settled_once, 0, 0);
    (void)pthread_mutex_init(&worker->network.lock, NULL);
    (void)pthread_mutex_init(&worker->guests_lock, NULL);
    (void)pthread_mutex_init(&worker->wireguard.lock, NULL);
    worker->wireguard.memory.process = -1;
    worker->wireguard.memory.words = -1;
    worker->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (worker->epoll < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "no epoll");
    }
    shim_prepare();
    if (open_api_socket(worker, err) != 0) {
        return -1;
    }
    if (keeper_open(worker, setup, keeper, err) != 0 || memory_open(config->state_dir, &worker->memory, err) != 0) {
        return -1;
    }
    if (border_network_settings(worker->border, config, &worker->network.settings, err) != 0 || claim_subnets(worker, err) != 0) {
        return -1;
    }
    if (open_uids(worker, err) != 0 || seal_key_load(config->state_dir, worker->border, worker->seal_key, err) != 0 ||
        boot_id_read(worker->boot_id, err) != 0 || make_directories(worker, err) != 0 || telling_new(&worker->telling, err) != 0 ||
        queue_new(&worker->queue, err) != 0 || queue_new(&worker->image_queue, err) != 0 || runtimes_new(&worker->runtimes, err) != 0 ||
        console_hub_start(worker, &worker->consoles, err) != 0 || slow_questions_start(worker, &worker->slow_questions, err) != 0) {
        return -1;
    }
    return 0;
}

static int open_monitors(struct main_loop *loop, struct error *err)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    loop->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (loop->signals < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "signals could not be watched");
    }
    if (news_open(loop->worker, &loop->news, err) != 0 || watch(loop->worker, loop->signals, EPOLL_TAG_SIGNAL, err) != 0 ||
        keeper_watch(&loop->keeper, err) != 0) {
        return -1;
    }
    return 0;
}

struct threads {
    pthread_t ids[THREADS_MAX + 2];
    size_t count;
};

static int start_thread(struct threads *threads, void *(*run)(void *), struct worker *worker, struct error *err)
{
    int rc = pthread_create(&threads->ids[threads->count], NULL, run, worker);
    if (rc != 0) {
        return error_sys(err, ERR_SYSTEM, rc, "a worker thread could not be started");
    }
    threads->count++;
    return 0;
}

static int start_threads(struct threads *threads, struct worker *worker, struct error *err)
{
    for (unsigned i = 0; i < worker->config->vmm.workers && i < THREADS_MAX; i++) {
        if (start_thread(threads, work, worker, err) != 0) {
            return -1;
        }
    }
    if (start_thread(threads, work_images, worker, err) != 0) {
        return -1;
    }
    return start_thread(threads, probe_kvm, worker, err);
}

/* Every VM is looked at as if it was wanted stopped; the wanted rows stay as they are. */
static void stop_all_vms(struct main_loop *loop)
{
    struct worker *worker = loop->worker;
    int64_t deadline_ms = clock_monotonic_ms() + ((int64_t)worker->config->vmm.stop_timeout_s + 10) * 1000;
    bool queued = false;
    atomic_store(&worker->stop_vms, true);
    while (clock_monotonic_ms() < deadline_ms && sweep_any_process(worker)) {
        struct epoll_event events[64];
        queued = queued || reconcilers_queue_vms(worker, NULL) == 0;
        int n = epoll_wait(worker->epoll, events, (int)ARRAY_LEN(events), 100);
        for (int i = 0; i < n; i++) {
            on_event(loop, &events[i]);
        }
        keeper_on_deadline(&loop->keeper);
    }
}

static void stop_threads(struct threads *threads, struct worker *worker)
{
    if (worker->queue != NULL) {
        (void)sem_post(&worker->settled_once);
        queue_stop(worker->queue);
    }
    if (worker->image_queue != NULL) {
        queue_stop(worker->image_queue);
    }
    for (size_t i = 0; i < threads->count; i++) {
        (void)pthread_join(threads->ids[i], NULL);
    }
}

static int run_main_loop(struct main_loop *loop, struct threads *threads, struct error *err)
{
    struct worker *worker = loop->worker;
    if (fill_worker(worker, loop->setup, &loop->keeper, err) != 0 || open_monitors(loop, err) != 0 ||
        border_fact_set(worker->border, FACT_WORKER, "{\"ready\":false}", NULL, err) != 0 || host_facts_probe(worker, err) != 0 ||
        reconcilers_restore(worker, err) != 0 || image_sweep(worker, err) != 0 || sweep_leftovers(worker, err) != 0) {
        return -1;
    }
    start_api(loop);
    if (reconcilers_look_before_ready(worker, err) != 0 || start_threads(threads, worker, err) != 0) {
        return -1;
    }
    run_loop(loop);
    if (loop->setup->stop_vms) {
        stop_all_vms(loop);
    }
    return 0;
}

int worker_run(const struct worker_setup *setup, struct error *err)
{
    struct worker *worker = calloc(1, sizeof *worker);
    struct threads threads = {.count = 0};
    if (worker == NULL) {
        return error_oom(err);
    }
    struct main_loop loop = {.worker = worker, .setup = setup, .signals = -1, .api_process = -1, .keeper = KEEPER_INIT, .news = NEWS_INIT};
    worker->epoll = worker->api_socket = -1;
    int result = run_main_loop(&loop, &threads, err);
    if (loop.api_process >= 0) {
        int status = -1;
        (void)process_signal(loop.api_process, SIGTERM, NULL);
        (void)process_wait(loop.api_process, 5000, &status, NULL);
    }
    stop_threads(&threads, worker);
    slow_questions_stop(worker->slow_questions);
    console_hub_stop(worker->consoles);
    runtimes_free(worker->runtimes);
    uids_close(worker->uids);
    telling_free(worker->telling);
    wireguard_forget(worker);
    queue_free(worker->queue);
    queue_free(worker->image_queue);
    news_close(&loop.news);
    keeper_close(&loop.keeper);
    border_free(worker->border);
    memory_close(worker->memory);
    const int fds[] = {loop.signals, loop.api_process, worker->api_socket, worker->epoll};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
    free(worker);
    return result;
}
