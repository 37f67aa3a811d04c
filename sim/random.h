/* random.h - the lab's seeded random numbers are those of the generated traces. */
#ifndef KMEMLAB_SIM_RANDOM_H
#define KMEMLAB_SIM_RANDOM_H

#include "workloads/random.h"

#endif
