/*
 * The load generator: connections to one server, one task each, kept busy for a while.
 *
 *   load_run() (main thread)      starts a runtime without listeners, moves the phase
 *     LOAD_CONNECT -> LOAD_WARM -> LOAD_MEASURE -> LOAD_STOP
 *   load_conn.c (its workers)     a task per connection: send, receive, check, time
 *   load_work.c                   what is sent, and what must come back
 *
 * Closed loop: every connection keeps `pipeline` requests under way; latency runs from the moment a
 * request was queued. Open loop (rate set): requests have times fixed in advance, and latency runs
 * from that time even when the request had to wait for its turn, so a server that stalls is not
 * spared the requests that it kept from being sent. The open loop spins between sends: what it
 * measures is the server, not the tick of its own timers.
 */
#ifndef TOOL_LOAD_H
#define TOOL_LOAD_H

#include "hist.h"

#include <ringline.h>
#include <stdatomic.h>

enum { LOAD_ECHO, LOAD_KV };
enum load_phase { LOAD_CONNECT, LOAD_WARM, LOAD_MEASURE, LOAD_STOP };
enum { LOAD_PIPELINE_MAX = 4096, LOAD_ERROR_MAX = 240 };

struct load_options {
	int what; /* LOAD_* */
	const char *connect;
	uint64_t connections, size, pipeline;
	uint64_t workers;  /* 0: one per physical core */
	double seconds;	   /* measured; the warm-up comes before */
	double rate;	   /* requests a second in all; 0: closed loop */
	double timeout;	   /* seconds without an answer that are an error */
	const char *label; /* of the progress line; NULL: none */
};

struct load_result {
	int start_err;	      /* the generator itself could not start (logged), or -EINVAL */
	double seconds;	      /* measured */
	double total_seconds; /* from the first byte to the last */
	uint64_t requests;    /* answered within the measured time */
	uint64_t total;	      /* answered at any time, warm-up and end included */
	uint64_t errors;      /* failed or broken connections and wrong answers, at any time */
	uint64_t unfinished;  /* open loop: due in the measured time and never answered */
	uint64_t connected;   /* connections that were ever up */
	char error[LOAD_ERROR_MAX]; /* the first one */
	struct hist latency, lag;   /* lag: how late the open loop sent */
};

/* Run it. Returns 0, or a negative errno when nothing could be measured. */
int load_run(const struct load_options *o, struct load_result *r);
/* Quantiles in words: "p50 12.3 us" and so on, one line. */
const char *load_time_text(uint64_t ns, char *buf, size_t cap);

/* ---- between the files of the generator */

/* Bytes at every position of every stream; the period is prime, so no shift goes unnoticed. */
#define WORK_PERIOD 65521u

struct work {
	int what;
	size_t size;
	uint8_t *pattern; /* [WORK_PERIOD + size] */
	int run;	  /* told apart from other runs on the same server */
};

struct work_segment {
	const uint8_t *p;
	size_t n;
};

/* One answer as it must arrive. */
struct work_answer {
	struct work_segment segment[3];
	unsigned count, at;
	size_t off; /* within segment[at] */
	char head[32];
};

int work_init(struct work *w, const struct load_options *o);
void work_fini(struct work *w);
/* Queue request k of connection number conn. 0 or a negative errno. */
int work_send(const struct work *w, rln_conn c, uint64_t conn, uint64_t k, uint8_t *scratch);
/* Bytes of scratch work_send() wants. */
size_t work_scratch(const struct work *w);
void work_expect(const struct work *w, uint64_t conn, uint64_t k, struct work_answer *a);
/*
 * Compare what came with what must come. Returns bytes used, at most the rest of this answer, or -1
 * when they differ; *done when the answer is complete.
 */
ssize_t work_check(struct work_answer *a, const uint8_t *p, size_t n, bool *done);

struct load;

struct load_conn {
	struct load_worker *worker;
	uint64_t number; /* among all */
	uint64_t rank;	 /* among its worker's */
	rln_conn c;
	rln_scope *scope; /* of its task while it runs */
	bool up;
	uint64_t sent, answered; /* requests, counted on over reconnects */
	int64_t *stamp;		 /* [pipeline]: when request k % pipeline was due */
	struct work_answer answer;
	char said[64]; /* the words of an answer that was not what was asked for */
};

struct load_worker {
	_Alignas(64) atomic_uint_fast64_t total; /* answered; read by the progress line */
	atomic_uint_fast64_t errors;
	uint64_t requests, unfinished;
	struct load *load;
	struct load_conn **conn;
	uint64_t conns;
	uint8_t *scratch;
	uint64_t tick; /* open loop: the next request due, counted over all its connections */
	rln_timer timer;
	struct hist latency, lag;
	char error[LOAD_ERROR_MAX];
};

struct load {
	const struct load_options *o;
	struct work work;
	atomic_int phase;
	atomic_uint workers;
	atomic_uint_fast64_t live, ready, connected; /* tasks that run; tasks that have tried */
	atomic_int connect_err;
	_Atomic int64_t begin, end; /* of the measured time */
	_Atomic int64_t epoch;	    /* open loop: request 0 is due */
	struct load_worker *worker;
	struct load_conn *conns;
};

/* A task. */
int load_conn_task(void *arg); /* arg: struct load_conn */
/* Callback on each worker, once the epoch is set: begin to send by the clock. */
void load_pace(void *arg); /* arg: struct load_worker */
/* Callback on each worker: end the connections that have nothing under way; hard: all. */
void load_stop_idle(void *arg);
void load_stop_hard(void *arg);
/* After the last task: count what was due and never answered. */
void load_count_unfinished(struct load_conn *b);

#endif
