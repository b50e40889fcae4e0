#include "worker/context.h"

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
