/*
 * The key-value server (kv/), unchanged, against clients that know what it must answer: in one
 * process, on virtual time. A seed decides sizes, order, delays and faults; a wrong reply fails it.
 * usage: kv-sim [--runs N] [--seed S] [--help]
 */
#include "kv/kv.h"
#include "batch.h"
#include <ringline/sim.h>
#include <stdio.h>
#include <stdlib.h>

enum { CLIENTS = 3, BATCHES = 6 };
static const char addr[] = "127.0.0.1:6379";
static struct counted shared;

/* What became of the keys of a broken connection is not known: the next one has others. */
static int client(void *arg)
{
	for (unsigned batches = 0, n = 0; batches < BATCHES; n++) {
		struct batch b = { .shared = &shared };
		RLN_CONN(c);

		snprintf(b.name, sizeof b.name, "%d:%u", (int)(intptr_t)arg, n);
		if (rln_connect(addr, NULL, &c) == 0)
			while (batches < BATCHES && batch_run(c, &b))
				batches++;
	}
	return 0;
}

/* Increments whose reply was lost may have happened or not; no other may be missing. */
static void check_shared(void) RLN_WAITS
{
	RLN_CONN(c);
	rln_view v;
	long long n;

	rln_sim_calm(); /* no more faults: now it must work */
	RLN_SIM_CHECK(rln_connect(addr, NULL, &c) == 0);
	RLN_SIM_CHECK(rln_send(c, "INCR shared\r\n", 13) == 13);
	RLN_SIM_CHECK(rln_recv_until(c, "\r\n", 32, &v) > 0);
	n = strtoll((const char *)v.data + 1, NULL, 10) - 1;
	if (n < shared.done || n > shared.asked)
		rln_sim_fail("%lld increments, but %lld were asked and %lld answered", n,
			     shared.asked, shared.done);
}

static int clients(void *arg)
{
	rln_task t[CLIENTS];

	(void)arg;
	for (int i = 0; i < CLIENTS; i++)
		RLN_SIM_CHECK(rln_spawn(client, (void *)(intptr_t)i, NULL, &t[i]) == 0);
	for (int i = 0; i < CLIENTS; i++)
		RLN_SIM_CHECK(rln_join(t[i], NULL) == 0);
	check_shared();
	return 0;
}

/* The server must not look at another clock: expiry would differ from run to run. */
static int64_t clock_ms(void *arg)
{
	(void)arg;
	return rln_now() / 1000000;
}

static int scenario(void *arg)
{
	struct kv *kv = kv_new();
	rln_runtime *server;
	rln_listen_opts l;
	int status;

	(void)arg;
	shared = (struct counted){ 0 }; /* a seed must not see anything of the one before */
	kv_set_clock(kv, clock_ms, NULL);
	kv_listen_opts(kv, (enum kv_mode)rln_sim_rand(3), addr, &l);
	RLN_SIM_CHECK(rln_start(&(rln_config){ .listen = &l, .nlisten = 1 }, &server) == 0);
	status = rln_main(&(rln_config){ .main = clients });
	rln_shutdown(server);
	rln_wait(server);
	kv_free(kv);
	return status;
}

int main(int argc, char **argv)
{
	return rln_sim_main(&(rln_sim_config){ .main = scenario }, argc, argv);
}
