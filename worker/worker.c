#include "worker/worker.h"

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/ipc.h"
#include "core/limits.h"
#include "db/facts.h"
#include "db/images.h"
#include "db/network.h"
#include "db/repairs.h"
#include "db/vms.h"
#include "worker/console_hub.h"
#include "worker/context.h"
#include "worker/drift.h"
#include "worker/firewall.h"
#include "worker/image.h"
#include "worker/network.h"
#include "worker/news.h"
#include "worker/question.h"
#include "worker/runtime.h"
#include "worker/seal_key.h"
#include "worker/slow_question.h"
#include "worker/sweep.h"
#include "worker/vm.h"
#include "worker/wireguard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/statfs.h>

enum {
    API_RESTART_MS = 100,
    THREADS_MAX = 64,
    KVM_PROBE_DELAY_MAX_S = 2,
    TMPFS_MAGIC_NUMBER = 0x01021994,
};

struct main_loop {
    struct worker *worker;
    const struct worker_setup *setup;
    int signals, api_process;
    struct news news;
    int64_t api_restart_ms; /* when to start it again, 0: not due */
    bool stopping;
};

void worker_notify(struct worker *worker, const char *key)
{
    struct error err = {0};
    const char *const keys[] = {key, "events"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        bool console = strncmp(key, "console/", 8) == 0;
        if (i == 1 && console) {
            return; /* what a guest writes is no event */
        }
        if (ipc_send(worker->api_socket, IPC_CHANGED, 0, keys[i], -1, &err) != 0 && err.sys_errno == EAGAIN) {
            struct epoll_event event = {.events = EPOLLIN | EPOLLOUT,
                                        .data.u64 = EPOLL_DATA(EPOLL_TAG_API_SOCKET, 0)};
            atomic_store(&worker->api_behind, true);
            (void)epoll_ctl(worker->epoll, EPOLL_CTL_MOD, worker->api_socket, &event);
            return;
        }
    }
}

static void log_failure(const char *event, const char *key, const struct error *err)
{
    log_event(LOG_WARN, event, "key", key, "code", error_code_name(err->code), "message", err->message, NULL);
}

static bool add_vm(const char *id, struct worker *worker)
{
    char key[QUEUE_KEY_MAX];
    (void)snprintf(key, sizeof key, "vm/%s", id);
    return queue_add(worker->queue, key);
}

static void add_vm_key(const char *id, void *ctx)
{
    (void)add_vm(id, ctx);
}

static void add_image_key(const char *id, void *ctx)
{
    struct worker *worker = ctx;
    char key[QUEUE_KEY_MAX];
    (void)snprintf(key, sizeof key, "image/%.80s", id);
    (void)queue_add(worker->image_queue, key);
}

static void add_repair_key(int64_t id, void *ctx)
{
    struct worker *worker = ctx;
    char key[QUEUE_KEY_MAX];
    (void)snprintf(key, sizeof key, "repair/%lld", (long long)id);
    (void)queue_add(worker->queue, key);
}

void worker_look_at_everything(struct worker *worker)
{
    struct error err;
    (void)queue_add(worker->queue, "network");
    (void)queue_add(worker->queue, "firewall");
    (void)queue_add(worker->queue, "wireguard");
    if (repairs_each_pending(worker->db, add_repair_key, worker, &err) != 0 || vms_each_id(worker->db, add_vm_key, worker, &err) != 0 ||
        images_each_id(worker->db, add_image_key, worker, &err) != 0) {
        log_failure("worker.sweep_failed", "", &err);
    }
}

/* The daemon is ready when this look is over, whatever clients ask for meanwhile. */
static void look_before_ready(struct worker *worker)
{
    worker_look_at_everything(worker);
    queue_mark(worker->queue);
}

struct network_settings worker_network(struct worker *worker)
{
    (void)pthread_mutex_lock(&worker->network.lock);
    struct network_settings settings = worker->network.settings;
    (void)pthread_mutex_unlock(&worker->network.lock);
    return settings;
}

int64_t worker_egress_generation(struct worker *worker)
{
    (void)pthread_mutex_lock(&worker->network.lock);
    int64_t generation = worker->network.memory.egress.generation;
    (void)pthread_mutex_unlock(&worker->network.lock);
    return generation;
}

static int reconcile_network(struct worker *worker, struct error *err)
{
    int64_t generation = worker_network(worker).generation;
    int64_t egress_generation = worker_egress_generation(worker);
    enum network_state before = atomic_load(&worker->network_state);
    int result = network_reconcile(worker, err);
    /* VMs that waited for the network, and TAPs that lost their bridge. */
    bool remade = atomic_exchange(&worker->bridge_remade, false);
    if (remade || generation != worker_network(worker).generation || before != atomic_load(&worker->network_state)) {
        look_before_ready(worker);
    }
    if (egress_generation != worker_egress_generation(worker)) {
        (void)queue_add(worker->queue, "wireguard");
    }
    return result;
}

/* The whole host was looked at once: the daemon is ready. */
static void note_settled(struct worker *worker)
{
    bool before = false;
    char ms[24];
    if (atomic_load(&worker->settled) || !queue_is_past_mark(worker->queue) ||
        !atomic_compare_exchange_strong(&worker->settled, &before, true)) {
        return;
    }
    (void)snprintf(ms, sizeof ms, "%lld", (long long)(clock_monotonic_ms() - worker->start_ms));
    log_event(LOG_INFO, "worker.settled", "ms", ms, NULL);
    (void)facts_set(worker->db, "worker", "{\"ready\":true}", NULL, NULL);
    worker_notify(worker, "worker");
    worker->setup->ready(worker->setup->ctx);
    (void)sem_post(&worker->settled_once);
}

static int reconcile(struct worker *worker, const char *key, struct error *err)
{
    if (strcmp(key, QUEUE_EVERYTHING) == 0) {
        worker_look_at_everything(worker);
        return 0;
    }
    if (strcmp(key, "network") == 0) {
        return reconcile_network(worker, err);
    }
    if (strcmp(key, "firewall") == 0) {
        return firewall_reconcile(worker, err);
    }
    if (strcmp(key, "wireguard") == 0) {
        return wireguard_reconcile(worker, err);
    }
    if (strncmp(key, "repair/", 7) == 0) {
        return drift_repair_reconcile(worker, key + strlen("repair/"), err);
    }
    return vm_reconcile(worker, key + strlen("vm/"), err);
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    char key[QUEUE_KEY_MAX];
    while (queue_take(worker->queue, key)) {
        struct error err = {0};
        int result = reconcile(worker, key, &err);
        if (result != 0) {
            log_failure("worker.reconcile_failed", key, &err);
        }
        queue_done(worker->queue, key, result != 0);
        note_settled(worker);
    }
    return NULL;
}

static void *work_images(void *arg)
{
    struct worker *worker = arg;
    char key[QUEUE_KEY_MAX];
    while (queue_take(worker->image_queue, key)) {
        struct error err = {0};
        bool everything = strcmp(key, QUEUE_EVERYTHING) == 0;
        int result = everything ? 0 : image_reconcile(worker, key + strlen("image/"), &err);
        if (everything) {
            worker_look_at_everything(worker);
        }
        if (result != 0) {
            log_failure("worker.reconcile_failed", key, &err);
        }
        queue_done(worker->image_queue, key, result != 0);
    }
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
    worker_look_at_everything(worker);
    return NULL;
}

static void on_wake(struct worker *worker, const char *key)
{
    if (key[0] == '\0') {
        worker_look_at_everything(worker);
    } else if (strncmp(key, "image/", 6) == 0) {
        (void)queue_add(worker->image_queue, key);
    } else if (strncmp(key, "vm/", 3) == 0 || strncmp(key, "repair/", 7) == 0 || strcmp(key, "network") == 0 ||
               strcmp(key, "firewall") == 0 || strcmp(key, "wireguard") == 0) {
        (void)queue_add(worker->queue, key);
    }
}

static void on_question(struct worker *worker, const struct ipc_message *question)
{
    AUTO_FREE char *text = NULL;
    const char *answer = NULL;
    AUTO_CLOSE int fd = -1;
    struct error err = {0};
    if (!question_is_slow(question->text)) {
        question_answer(worker, question->text, &text, &fd);
    } else if (slow_questions_add(worker->slow_questions, question->number, question->text)) {
        return;
    } else {
        answer = "{\"error\":{\"code\":\"UNAVAILABLE\",\"message\":\"too many questions wait already\"}}";
    }
    answer = text != NULL ? text : answer;
    if (answer != NULL && ipc_send(worker->api_socket, IPC_ANSWER, question->number, answer, fd, &err) != 0) {
        log_failure("worker.answer_failed", "", &err);
    }
}

static void on_api_socket(struct main_loop *loop, uint32_t events)
{
    struct worker *worker = loop->worker;
    struct ipc_message message;
    bool closed = false;
    while ((events & EPOLLIN) != 0 && ipc_receive(worker->api_socket, &message, &closed, NULL) == 0 && !closed) {
        if (message.type == IPC_WAKE) {
            on_wake(worker, message.text);
        } else if (message.type == IPC_QUESTION) {
            on_question(worker, &message);
        }
        ipc_message_free(&message);
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

static void start_api(struct main_loop *loop)
{
    struct error err = {0};
    loop->api_restart_ms = 0;
    loop->api_process = loop->setup->start_api(loop->setup->ctx, &err);
    if (loop->api_process < 0 || watch(loop->worker, loop->api_process, EPOLL_TAG_API_PROCESS, &err) != 0) {
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
    worker_look_at_everything(loop->worker);
}

static void on_vmm(struct worker *worker, int64_t uid)
{
    char id[64];
    if (runtimes_id(worker->runtimes, uid, id)) {
        (void)add_vm(id, worker);
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

static void run_loop(struct main_loop *loop)
{
    struct epoll_event events[64];
    while (!loop->stopping) {
        int timeout = -1;
        if (loop->api_restart_ms != 0) {
            int64_t left = loop->api_restart_ms - clock_monotonic_ms();
            timeout = left > 0 ? (int)left : 0;
        }
        int n = epoll_wait(loop->worker->epoll, events, (int)ARRAY_LEN(events), timeout);
        for (int i = 0; i < n; i++) {
            on_event(loop, &events[i]);
        }
        if (loop->api_restart_ms != 0 && clock_monotonic_ms() >= loop->api_restart_ms && !loop->stopping) {
            start_api(loop);
        }
    }
}

static void choose_stage_root(struct worker *worker)
{
    const char *configured = worker->config->vmm.stage_dir;
    struct statfs fs;
    const char *parent = configured;
    if (configured[0] == '\0') {
        bool tmpfs = statfs("/dev/shm", &fs) == 0 && fs.f_type == TMPFS_MAGIC_NUMBER;
        parent = tmpfs ? "/dev/shm" : worker->config->run_dir;
    }
    /* Beside the console's directories in run_dir there is a `vm`; a mark never has that name. */
    (void)snprintf(worker->stage_root, sizeof worker->stage_root, "%s/%s", parent, worker->mark);
}

static int make_directories(struct worker *worker, struct error *err)
{
    char vm_dir[128];
    const char *const dirs[] = {worker->store_root, worker->stage_root, vm_dir};
    (void)snprintf(vm_dir, sizeof vm_dir, "%s/vm", worker->config->run_dir);
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        struct stat st;
        if (mkdir(dirs[i], 0700) != 0 && errno != EEXIST) {
            return error_sys(err, ERR_SYSTEM, errno, "%s could not be made", dirs[i]);
        }
        if (lstat(dirs[i], &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != 0 || (st.st_mode & 022) != 0) {
            return error_set(err, ERR_SYSTEM, "%s is not a directory that only root may write to", dirs[i]);
        }
    }
    return 0;
}

static int fill(struct worker *worker, const struct worker_setup *setup, struct error *err)
{
    const struct config *config = setup->config;
    worker->config = config;
    worker->setup = setup;
    worker->start_ms = clock_monotonic_ms();
    worker->db = setup->db;
    worker->api_socket = setup->api_socket;
    config_mark(config, worker->mark);
    (void)snprintf(worker->store_root, sizeof worker->store_root, "%.280s/images", config->state_dir);
    choose_stage_root(worker);
    (void)pthread_mutex_init(&worker->facts.lock, NULL);
    (void)sem_init(&worker->settled_once, 0, 0);
    (void)pthread_mutex_init(&worker->network.lock, NULL);
    (void)pthread_mutex_init(&worker->guests_lock, NULL);
    (void)pthread_mutex_init(&worker->wireguard.lock, NULL);
    worker->wireguard.memory.process = -1;
    worker->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (worker->epoll < 0) {
        return error_sys(err, ERR_SYSTEM, errno, "no epoll");
    }
    if (network_settings_load(worker->db, config, &worker->network.settings, err) != 0) {
        return -1;
    }
    if (seal_key_load(config->state_dir, worker->db, worker->seal_key, err) != 0 || process_boot_id(worker->boot_id, err) != 0 || make_directories(worker, err) != 0 ||
        queue_new(&worker->queue, err) != 0 || queue_new(&worker->image_queue, err) != 0 ||
        runtimes_new(&worker->runtimes, err) != 0 || console_hub_start(worker, &worker->consoles, err) != 0 ||
        slow_questions_start(worker, &worker->slow_questions, err) != 0) {
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
    if (news_open(loop->worker, &loop->news, err) != 0 ||
        watch(loop->worker, loop->signals, EPOLL_TAG_SIGNAL, err) != 0 ||
        watch(loop->worker, loop->worker->api_socket, EPOLL_TAG_API_SOCKET, err) != 0) {
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
static void stop_all_vms(struct worker *worker)
{
    int64_t deadline_ms = clock_monotonic_ms() + ((int64_t)worker->config->vmm.stop_timeout_s + 10) * 1000;
    atomic_store(&worker->stop_vms, true);
    (void)vms_each_id(worker->db, add_vm_key, worker, NULL);
    while (clock_monotonic_ms() < deadline_ms && sweep_any_process(worker)) {
        struct epoll_event events[64];
        int n = epoll_wait(worker->epoll, events, (int)ARRAY_LEN(events), 100);
        for (int i = 0; i < n; i++) {
            if (events[i].data.u64 >> 56 == EPOLL_TAG_VMM) {
                on_vmm(worker, (int64_t)(events[i].data.u64 & (UINT64_MAX >> 8)));
            }
        }
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

static int run(struct main_loop *loop, struct threads *threads, struct error *err)
{
    struct worker *worker = loop->worker;
    if (fill(worker, loop->setup, err) != 0 || open_monitors(loop, err) != 0 ||
        host_facts_probe(worker, err) != 0 || image_sweep(worker, err) != 0 || sweep_leftovers(worker, err) != 0) {
        return -1;
    }
    start_api(loop);
    look_before_ready(worker);
    if (start_threads(threads, worker, err) != 0) {
        return -1;
    }
    run_loop(loop);
    if (loop->setup->stop_vms) {
        stop_all_vms(worker);
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
    struct main_loop loop = {.worker = worker, .setup = setup, .signals = -1, .api_process = -1, .news = NEWS_INIT};
    worker->epoll = -1;
    (void)facts_set(setup->db, "worker", "{\"ready\":false}", NULL, NULL);
    int result = run(&loop, &threads, err);
    if (loop.api_process >= 0) {
        int status = -1;
        (void)process_signal(loop.api_process, SIGTERM, NULL);
        (void)process_wait(loop.api_process, 5000, &status, NULL);
    }
    stop_threads(&threads, worker);
    slow_questions_stop(worker->slow_questions);
    console_hub_stop(worker->consoles);
    runtimes_free(worker->runtimes);
    wireguard_forget(worker);
    queue_free(worker->queue);
    queue_free(worker->image_queue);
    news_close(&loop.news);
    const int fds[] = {loop.signals, loop.api_process, worker->epoll};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
    free(worker);
    return result;
}
