/* Prints the name of every operation that a plan can hold, one a line, as places for faults: "vm.create_tap". Only with SMARTVM_FAULTS. */
#ifndef SMARTVM_WORKER_FAULT_POINTS_H
#define SMARTVM_WORKER_FAULT_POINTS_H

void fault_points_print(void);

#endif
