/*
 * The stall watchdog: a worker that does not come back to its loop is reported once, with the call
 * stack of whoever holds it. A thread of its own looks at each worker from time to time; the worker
 * does nothing for it but to say when its stretch of work began.
 */
#ifndef RINGLINE_RT_STALL_H
#define RINGLINE_RT_STALL_H

#include <stdbool.h>
#include <stdint.h>

/* What the watching thread remembers of a worker. All zero to begin with. */
struct stall_watch {
	int64_t since_ns, looked_ns;
	bool told;
};

/* How often to look: a stall is reported when it is between one and one and a half warn_ns old. */
int64_t stall_period(int64_t warn_ns);
/*
 * Is it to be reported now? since_ns: when the worker's present stretch of work began, 0: it has
 * none. True once for each stretch that is longer than warn_ns.
 */
bool stall_look(struct stall_watch *s, int64_t since_ns, int64_t now_ns, int64_t warn_ns);

struct worker;
/* Look at a worker; report it if it stalls. From the watching thread. */
void stall_check(struct worker *w, int64_t now_ns);

#endif
