/*
 * The configuration as the user gave it becomes one without defaults: sizes checked, every field
 * validated and filled, addresses parsed. After config_resolve() nothing refers (INV-42) to memory
 * of the user's but the `arg` pointers and functions.
 */
#ifndef RINGLINE_RT_CONFIG_H
#define RINGLINE_RT_CONFIG_H

#include "base/log.h"
#include "io/addr.h"
#include "io/conn.h"
#include "ringline/runtime.h"

#define CONFIG_WORKERS_MAX 256 /* handles have 8 bits for the worker */
#define CONFIG_LISTEN_MAX 64
#define CONFIG_SLOTS_MAX (1u << 20) /* the kernel's own limit for a descriptor table */
#define CONFIG_SPARE_SLOTS 64	    /* beyond all max_conns: handed over, listeners at run time */
#define CONFIG_SPARE_ALONE 1024	    /* where no listener is configured */
#define CONFIG_RECV_BUFS_MAX 8192   /* how far the buffer ring may grow by itself */
/* Longer durations are cut to this, about 73 years, so that now + duration cannot overflow. */
#define CONFIG_NS_MAX (INT64_C(1) << 61)

struct config_listener {
	rln_listen_opts set; /* every field resolved; addr points to text, cb to callbacks */
	rln_callbacks callbacks;
	struct conn_mode mode; /* idle_ns 0: none */
	struct addr addr;
	char text[ADDR_TEXT_MAX];
};

struct config {
	rln_config set;			  /* every field resolved; listen is NULL: see listener */
	struct config_listener *listener; /* [set.nlisten] */
	unsigned auto_slots;		  /* per worker: accepted and handed-over connections */
	unsigned recv_bufs_max;		  /* power of two, >= set.recv_bufs */
	uint64_t nofile_soft, nofile_hard, memory_bytes;
	struct log_sink log;
};

/*
 * Fill out from the user's structure of cfg_size bytes, whose listen array has elements of
 * opts_size bytes. Raises the soft limit of open files to the hard one.
 *
 * Returns 0, or -EINVAL, -E2BIG, -ENOMEM with a line that names the field and what to do; then out
 * holds nothing to free.
 */
int config_resolve(const rln_config *user, size_t cfg_size, size_t opts_size, struct config *out,
		   struct diag *why);
/*
 * The same for one listener whose set is the user's; handler: it must have one. max_conns may stay
 * 0. at: how messages begin to name a field.
 */
int config_listener_resolve(struct config_listener *l, bool handler, const char *at,
			    struct diag *why);
/* Free what config_resolve() made. */
void config_fini(struct config *c);

#endif
