/*
 * Simulation: a server, its clients and whatever else a test wants, unchanged code on the public
 * interface, in one process on one thread, on virtual time. A seed decides the order of everything,
 * how long it takes, and what fails; the same seed gives the same run. Linked with libringline-sim
 * in the place of libringline (pkg-config ringline-sim, CMake ringline::sim); nothing here exists
 * in libringline.
 *
 * In a simulation rln_start(), rln_wait() and rln_main() work as ever: workers are simulated
 * threads, and listeners and connects meet over a simulated network. Nothing of it leaves the
 * process. What the program must not do: block outside the library (a read, a contended lock), look
 * at another clock than rln_now(), take randomness from elsewhere, or start threads of its own;
 * rln_sim_start() starts simulated ones. There are no child processes: rln_proc_spawn() gives
 * -ENOSYS. What it keeps in static variables it sets anew in each run.
 */
#ifndef RINGLINE_SIM_H
#define RINGLINE_SIM_H

#include <ringline/base.h>
#include <ringline/time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What may go wrong, in classes that are turned up and down together. */
enum {
	RLN_SIM_ORDER,	/* operations and their completions are late, and in another order */
	RLN_SIM_SHORT,	/* receives and sends move fewer bytes than they could */
	RLN_SIM_SCARCE, /* receive buffers and queue entries run out */
	RLN_SIM_REFUSE, /* connects and accepts fail */
	RLN_SIM_RESET,	/* connections break */
	RLN_SIM_FREEZE, /* the machine stops for seconds */
	RLN_SIM_STALL,	/* one thread stops while the others go on */
	RLN_SIM_MEMORY, /* an allocation of the library fails; off unless asked for */
	RLN_SIM_CLASSES
};

/* How often; 0: the seed decides between the next three. */
enum { RLN_SIM_BY_SEED, RLN_SIM_OFF, RLN_SIM_RARE, RLN_SIM_OFTEN };

/* All-zero but main is valid: zero means the default, which stands behind each field. */
typedef struct rln_sim_config {
	/* The program: a thread that is no worker. The run has failed unless it returns 0. */
	int (*main)(void *arg);
	void *arg;
	uint64_t seed;			 /* of rln_sim_run(), and the first of rln_sim_search() */
	uint8_t faults[RLN_SIM_CLASSES]; /* by seed */
	unsigned cpus;	     /* by seed, 1..4; the workers of a runtime that names no number */
	bool own_sizes;	     /* sizes an rln_config leaves 0 are its defaults, not small by seed */
	rln_ns time_limit;   /* a day of virtual time; a run that takes longer has failed */
	uint64_t step_limit; /* 1,000,000 looks at the completion queue; likewise */
	size_t stack_size;   /* 1 MiB, of each simulated thread */
	bool trace;	     /* write what happens to stderr */
} rln_sim_config;

/* Why a run failed. */
enum {
	RLN_SIM_PASSED,
	RLN_SIM_FAILED,	  /* rln_sim_fail(), RLN_SIM_CHECK() */
	RLN_SIM_STATUS,	  /* main returned something else than 0 */
	RLN_SIM_DEADLOCK, /* nothing can ever happen again, and main has not returned */
	RLN_SIM_ENDLESS,  /* time_limit, step_limit, or no answer for 30 s of real time */
	RLN_SIM_LEAK,	  /* something was left: a runtime, a thread, memory */
	RLN_SIM_BROKEN,	  /* the library used the kernel wrongly */
	RLN_SIM_CRASHED,  /* the process died */
	RLN_SIM_DIVERGED  /* the same seed gave two different runs */
};

#define RLN_SIM_TEXT 512
typedef struct rln_sim_result {
	uint64_t seed;
	int reason; /* RLN_SIM_PASSED .. RLN_SIM_DIVERGED */
	int status; /* what main returned */
	char what[RLN_SIM_TEXT];
	rln_ns elapsed; /* virtual; of this seed, as the hash */
	uint64_t hash;	/* of all that happened */
	uint64_t runs, completions, faults;
	/* Of rln_sim_search(): with these classes of faults alone (bits 1u << class) it still
	   fails for the same reason, with that seed. */
	unsigned needs;
	uint64_t simple_seed;
} rln_sim_result;

typedef struct rln_sim_thread rln_sim_thread;

/*
 * One run in this process: main, and whatever it starts, to the end.
 *
 * Returns 0 when it passed, 1 when it failed, or -EINVAL (cfg, a field of it, out), -EBUSY (inside
 * a simulation).
 * Owner:   borrows cfg; fills *out. After a failed run what the program had allocated is lost.
 * Thread:  any that is no worker; several threads may simulate at the same time.
 * Waits:   no task; the thread does nothing else meanwhile.
 */
RLN_API int rln_sim_run(const rln_sim_config *cfg, rln_sim_result *out);

/*
 * Run seeds cfg->seed, cfg->seed + 1, ... in child processes, until one fails, or `runs` are done,
 * or `seconds` of real time are over (0: no such limit; not both). A crash or a program that does
 * not come back is a failure like any other. A seed now and then runs twice, which must give the
 * same. Under LeakSanitizer the program's own memory is checked too. Of a failure the classes of
 * faults are found that it needs.
 *
 * Returns 0 when all passed, 1 when one failed (*out is about it), or -EINVAL, -EBUSY, and -EAGAIN
 * or -ENOMEM from fork(2).
 * Owner:   borrows cfg; fills *out.
 * Thread:  the only one of its process.      Waits: no task; blocks the thread.
 */
RLN_API int rln_sim_search(const rln_sim_config *cfg, uint64_t runs, unsigned seconds,
			   rln_sim_result *out);

/*
 * A whole simulation program: rln_sim_search() by command line, with progress on a terminal and a
 * report of what failed: its seed, the classes of faults it needs, the end of its trace and the
 * command that repeats it. --help tells the options.
 *
 * Returns an exit status: 0 when all passed, 1 when a run failed, 2 for a bad option.
 * Owner:   borrows cfg and argv.
 * Thread:  the only one of its process.      Waits: no task; blocks the thread.
 */
RLN_API int rln_sim_main(const rln_sim_config *cfg, int argc, char **argv);

/*
 * End this run as failed.
 *
 * Returns never: stacks are abandoned as they are. Outside a simulation it aborts with the message.
 * Owner:   borrows fmt and what it prints.
 * Thread:  any of the simulation, tasks and callbacks.      Waits: no.
 */
RLN_API void rln_sim_fail(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Fail, with the place and the text of it, unless cond holds. */
#define RLN_SIM_CHECK(cond) \
	((cond) ? (void)0 : rln_sim_fail("%s:%d: %s", __FILE__, __LINE__, #cond))

/*
 * A number that the seed decides: what to do next, how much of it, in which mode.
 *
 * Returns 0 .. n-1; 0 when n is 0 or outside a simulation.
 * Owner:   nothing is passed.
 * Thread:  any of the simulation, tasks and callbacks.      Waits: no.
 */
RLN_API uint64_t rln_sim_rand(uint64_t n);

/*
 * No more faults in this run: from here on everything must come to its end.
 *
 * Returns nothing. Does nothing outside a simulation.
 * Owner:   nothing is passed.
 * Thread:  any of the simulation, tasks and callbacks.      Waits: no.
 */
RLN_API void rln_sim_calm(void);

/*
 * Write a line to the trace, with the time and the thread, when there is one.
 *
 * Returns nothing.
 * Owner:   borrows fmt and what it prints.
 * Thread:  any of the simulation, tasks and callbacks.      Waits: no.
 */
RLN_API void rln_sim_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Start a simulated thread: another program beside main, which may be a main() of its own that
 * calls rln_main().
 *
 * Returns 0, or -EINVAL (fn or out is NULL), -ENOMEM, -EPERM (outside a simulation).
 * Owner:   borrows name (NULL: "thread"), of which 15 bytes are kept; arg is passed on untouched.
 *          gives *out, ended by rln_sim_join().
 * Thread:  any of the simulation, tasks and callbacks.      Waits: no.
 */
RLN_API int rln_sim_start(int (*fn)(void *arg), void *arg, const char *name, rln_sim_thread **out);

/*
 * Wait until a thread has ended.
 *
 * Returns 0 with what its function returned in *result, or -EINVAL (t is NULL), -EDEADLK (oneself,
 * or on a worker), -EPERM (outside a simulation).
 * Owner:   takes t, on success only; fills *result (may be NULL).
 * Thread:  any of the simulation that is no worker.      Waits: no task; blocks that thread.
 */
RLN_API int rln_sim_join(rln_sim_thread *t, int *result);

/*
 * What SIGTERM does to a program: the rln_main() that thread t is in, or will be in, drains.
 *
 * Returns 0, or -EINVAL (t is NULL), -EPERM (outside a simulation).
 * Owner:   borrows t.
 * Thread:  any of the simulation, tasks and callbacks.      Waits: no.
 */
RLN_API int rln_sim_terminate(rln_sim_thread *t);

/*
 * Let virtual time pass for a thread that is no worker; tasks have rln_sleep().
 *
 * Returns 0, or -EPERM (outside a simulation), -EDEADLK (on a worker).
 * Owner:   nothing is passed.
 * Thread:  any of the simulation that is no worker.      Waits: no task; blocks that thread.
 */
RLN_API int rln_sim_sleep(rln_ns dur);

#ifdef __cplusplus
}
#endif
#endif
