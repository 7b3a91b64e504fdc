/* What a client of the simulated key-value server does, and knows. */
#ifndef KV_SIM_BATCH_H
#define KV_SIM_BATCH_H

#include <ringline.h>

enum { BATCH_KEYS = 3 };

/* Increments of the one key that all clients share. */
struct counted {
	long long asked, done;
};

/* Of one connection: its keys, which nobody else uses, and their values (0: no such key). */
struct batch {
	char name[32];
	long long value[BATCH_KEYS];
	struct counted *shared;
};

/*
 * Send some commands, then an increment of the shared key, and take all the replies. A wrong one
 * ends the simulation. Returns false when the connection broke on the way.
 */
bool batch_run(rln_conn c, struct batch *b) RLN_WAITS;

#endif
