#include "worker/fault_points.h"

#include "worker/network/plan.h"
#include "worker/vm/plan.h"
#include "worker/wireguard/plan.h"

#include <stdio.h>

void fault_points_print(void)
{
    for (int op = 0; op < VM_OP_COUNT_; op++) {
        (void)printf("vm.%s\n", vm_op_name((enum vm_op_type)op));
    }
    for (int op = 0; op < NETWORK_OP_COUNT_; op++) {
        (void)printf("network.%s\n", network_op_name((enum network_op_type)op));
    }
    for (int op = 0; op < WIREGUARD_OP_COUNT_; op++) {
        (void)printf("wireguard.%s\n", wireguard_op_name((enum wireguard_op_type)op));
    }
    /* The plan of the policies is one batch, and what follows from it. */
    (void)puts("firewall.change_policies\nfirewall.cut_flows\nnetwork.cut_flows");
    /* Images have no plan: a file is imported after the other. */
    (void)puts("image.kernel\nimage.rootfs\nimage.initrd\nimage.remove");
}
