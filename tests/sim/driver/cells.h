/*
 * What schedules have reached: which kind of hit (world.h) met which state of a connection, and
 * which marks of the library (base/mark.h).
 */
#ifndef RINGLINE_TESTS_SIM_CELLS_H
#define RINGLINE_TESTS_SIM_CELLS_H

#include "sim/world.h"
#include <stdbool.h>
#include <stdint.h>

/* Counters for so many runner processes, and which of them this process is. */
void cells_open(unsigned runners);
void cells_runner(unsigned i);
/* world_config.on_hit of the schedule that runs. */
void cells_hit(struct world *w, enum world_hit h, const struct world_where *at);
/* All that worker i has is hit. */
void cells_worker(unsigned i, enum world_hit h);
/* A schedule has ended: let the parent see the marks. */
void cells_flush(void);
/* Two lines and the names of what was never reached; table: all counts. */
void cells_report(bool table);

#endif
