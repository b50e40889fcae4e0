#include "core/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void config_mark(const struct config *config, char *buf)
{
    if (strcmp(config->network.bridge, "svbr0") == 0) {
        (void)snprintf(buf, CONFIG_MARK_MAX, "smartvm");
    } else {
        (void)snprintf(buf, CONFIG_MARK_MAX, "smartvm_%s", config->network.bridge);
    }
}

void config_free(struct config *config)
{
    if (config == NULL) {
        return;
    }
    free(config->state_dir);
    free(config->run_dir);
    free(config->user);
    for (size_t i = 0; i < config->listen_count; i++) {
        free(config->listen[i].path);
    }
    free(config->listen);
    free(config->network.bridge);
    free(config->network.uplink);
    free(config->network.allow_host_networks);
    free(config->network.open_host_ports);
    free(config->network.wireguard_go);
    for (size_t i = 0; i < config->images.allowed_root_count; i++) {
        free(config->images.allowed_roots[i]);
    }
    free(config->images.allowed_roots);
    free(config->vmm.firecracker);
    free(config->vmm.jailer);
    free(config->vmm.qemu);
    free(config->vmm.stage_dir);
    free(config);
}
