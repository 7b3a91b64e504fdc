/*
 * The public simulator, one run at a time: servers and clients on the public interface alone, the
 * ways a run can fail, and each function used wrongly.
 */
#include "ringline.h"
#include "ringline/sim.h"
#include "sim/world.h"
#include "test.h"
#include <errno.h>
#include <signal.h>
#include <netinet/in.h>
#include <stdlib.h>

/* ---- an echo server and its clients */
struct echo {
	unsigned clients, bytes;
	unsigned done, broken, closed, refused;
	uint16_t port;
	bool stop_early;
};

static void serve(rln_conn c, void *arg)
{
	rln_view v;

	(void)arg;
	while (rln_recv(c, &v) > 0)
		if (rln_send(c, v.data, v.len) < 0)
			return;
}

static void closed(rln_conn c, int err, void *arg)
{
	struct echo *x = arg;

	(void)c;
	(void)err;
	x->closed++;
}

/* What was sent comes back in order; fewer bytes only if the connection broke. */
static int client(void *arg)
{
	struct echo *x = arg;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(x->port) };
	RLN_CONN(c);
	rln_view v;
	int e;

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	e = rln_connect_addr((struct sockaddr *)&to, sizeof to, NULL, &c);
	x->refused += e != 0;
	for (unsigned i = 0; !e && i < x->bytes; i += 4) {
		uint8_t out[4] = { (uint8_t)i, (uint8_t)(i >> 8), 7, (uint8_t)rln_sim_rand(256) };
		ssize_t n = rln_send(c, out, sizeof out);

		if (n > 0)
			n = rln_recv_exact(c, sizeof out, &v);
		if (n <= 0)
			e = n < 0 ? (int)n : -ECONNRESET;
		else
			RLN_SIM_CHECK(memcmp(v.data, out, sizeof out) == 0);
	}
	x->done += !e;
	x->broken += e != 0;
	return 0;
}

static int clients(void *arg)
{
	struct echo *x = arg;
	rln_task t[16];

	for (unsigned i = 0; i < x->clients; i++)
		RLN_SIM_CHECK(rln_spawn(client, x, NULL, &t[i]) == 0);
	for (unsigned i = 0; i < x->clients; i++)
		RLN_SIM_CHECK(rln_join(t[i], NULL) == 0);
	return 0;
}

static int echo_scenario(void *arg)
{
	struct echo *x = arg;
	rln_listen_opts l = {
		.addr = "127.0.0.1:0", .on_conn = serve, .on_close = closed, .arg = x
	};
	struct sockaddr_storage ss;
	rln_runtime *server;
	int status;

	RLN_SIM_CHECK(rln_start(&(rln_config){ .listen = &l, .nlisten = 1 }, &server) == 0);
	RLN_SIM_CHECK(rln_listen_addr(server, 0, &ss) == 0);
	x->port = ntohs(((struct sockaddr_in *)&ss)->sin_port);
	status = rln_main(&(rln_config){ .workers = 1, .main = clients, .arg = x });
	rln_shutdown(server);
	RLN_SIM_CHECK(rln_wait(server) >= 0);
	return status;
}

static void run_echo(uint64_t seed, struct echo *x, rln_sim_result *out)
{
	rln_sim_config cfg = { .main = echo_scenario, .arg = x, .seed = seed };
	int e;

	*x = (struct echo){ .clients = 1 + (unsigned)(seed % 4), .bytes = 40 };
	e = rln_sim_run(&cfg, out);
	if (e)
		test_fail(__FILE__, __LINE__, "seed %llu: %d: %s", (unsigned long long)seed, e,
			  out->what);
	CHECK_INT(x->done + x->broken, ==, x->clients);
}

TEST_LIMIT(sim_api_echo_under_every_fault, 120)
{
	unsigned done = 0, broken = 0;
	uint64_t completions = 0, faults = 0;
	struct echo x;

	for (uint64_t seed = 1; seed <= 400; seed++) {
		rln_sim_result r;

		run_echo(seed, &x, &r);
		CHECK_INT(r.reason, ==, RLN_SIM_PASSED);
		CHECK_INT(r.seed, ==, seed);
		done += x.done;
		broken += x.broken;
		completions += r.completions;
		faults += r.faults;
	}
	printf("  %u echoed, %u broken, %llu completions, %llu faults\n", done, broken,
	       (unsigned long long)completions, (unsigned long long)faults);
	CHECK(done > 400 && broken > 20 && faults > 1000);
}

TEST_LIMIT(sim_api_same_seed_same_run, 60)
{
	uint64_t last = 0;
	struct echo x;

	for (uint64_t seed = 1; seed <= 100; seed++) {
		rln_sim_result a, b;

		run_echo(seed, &x, &a);
		run_echo(seed, &x, &b);
		CHECK(a.hash == b.hash && a.elapsed == b.elapsed);
		CHECK(a.completions == b.completions && a.faults == b.faults);
		CHECK(a.hash != last);
		last = a.hash;
	}
}

/* ---- what a run may end in */
static void run(int (*fn)(void *), rln_sim_result *r, int reason, const char *text)
{
	rln_sim_config cfg = {
		.main = fn, .seed = 3, .time_limit = RLN_SEC(1000), .step_limit = 20000
	};

	CHECK_INT(rln_sim_run(&cfg, r), ==, reason != RLN_SIM_PASSED);
	if (r->reason != reason || !strstr(r->what, text))
		test_fail(__FILE__, __LINE__, "reason %d: \"%s\"", r->reason, r->what);
}

static int pass(void *arg)
{
	(void)arg;
	return 0;
}

static int seven(void *arg)
{
	(void)arg;
	return 7;
}

static int check_false(void *arg)
{
	RLN_SIM_CHECK(arg != NULL);
	return 0;
}

static int in_task(int (*fn)(void *))
{
	return rln_main(&(rln_config){ .workers = 1, .main = fn });
}

static int check_in_task(void *arg)
{
	(void)arg;
	return in_task(check_false);
}

static void fail_timer(rln_timer *t, void *ud)
{
	(void)t;
	rln_sim_fail("%s %d", (char *)ud, 42);
}

static int fail_in_callback_task(void *arg)
{
	static rln_timer t;

	(void)arg;
	t = (rln_timer){ 0 };
	rln_timer_start(&t, RLN_MS(1), fail_timer, "timer");
	return rln_sleep(RLN_SEC(1));
}

/* A seed could not repeat what children do, so there are none. */
static int spawn_in_task(void *arg)
{
	const char *const argv[] = { "true", NULL };
	rln_proc_opts o = { .argv = argv };
	rln_conn io[3];
	rln_proc p;

	(void)arg;
	RLN_SIM_CHECK(rln_proc_spawn(&o, &p, NULL) == -ENOSYS);
	o.out = true;
	RLN_SIM_CHECK(rln_proc_spawn(&o, &p, io) == -ENOSYS);
	RLN_SIM_CHECK(RLN_WITHIN(0, rln_proc_spawn(&o, &p, NULL)) == -ETIME);
	RLN_SIM_CHECK(rln_proc_wait((rln_proc){ 1 }, NULL) == -ESRCH);
	return 0;
}

static int spawn_processes(void *arg)
{
	(void)arg;
	return in_task(spawn_in_task);
}

static int fail_in_callback(void *arg)
{
	(void)arg;
	return in_task(fail_in_callback_task);
}

static int sleep_for_ever(void *arg)
{
	(void)arg;
	return rln_sleep(RLN_FOREVER);
}

static int deadlock(void *arg)
{
	(void)arg;
	return in_task(sleep_for_ever);
}

static int sleeps(void *arg)
{
	(void)arg;
	while (rln_sleep(RLN_SEC(100)) == 0)
		;
	return 0;
}

static int endless(void *arg)
{
	(void)arg;
	return in_task(sleeps);
}

static int yields(void *arg)
{
	(void)arg;
	while (rln_yield() == 0)
		;
	return 0;
}

static int spinning(void *arg)
{
	(void)arg;
	return in_task(yields);
}

static int forgets_runtime(void *arg)
{
	rln_runtime *rt;

	(void)arg;
	return rln_start(&(rln_config){ .workers = 1 }, &rt);
}

static int forgets_thread(void *arg)
{
	rln_sim_thread *t;

	(void)arg;
	RLN_SIM_CHECK(rln_sim_start(pass, NULL, "lonely", &t) == 0);
	return rln_sim_sleep(RLN_SEC(1));
}

static int breaks_the_kernel(void *arg)
{
	(void)arg;
	world_fail(world_current(), "the ring was %s", "abused");
	return 0;
}

TEST(sim_api_has_no_child_processes)
{
	rln_sim_result r;

	run(spawn_processes, &r, RLN_SIM_PASSED, "");
}

TEST(sim_api_every_reason_is_told)
{
	rln_sim_result r;

	run(pass, &r, RLN_SIM_PASSED, "");
	run(seven, &r, RLN_SIM_STATUS, "main returned 7");
	CHECK_INT(r.status, ==, 7);
	run(check_false, &r, RLN_SIM_FAILED, "arg != NULL");
	CHECK_HAS(r.what, "test_api_run.c:");
	run(check_in_task, &r, RLN_SIM_FAILED, "arg != NULL");
	run(fail_in_callback, &r, RLN_SIM_FAILED, "timer 42");
	run(deadlock, &r, RLN_SIM_DEADLOCK, "2:rln-000 for its ring");
	CHECK_HAS(r.what, "1:main for another thread");
	run(endless, &r, RLN_SIM_ENDLESS, "1000 s of virtual time");
	run(spinning, &r, RLN_SIM_ENDLESS, "20000 steps");
	run(forgets_runtime, &r, RLN_SIM_LEAK, "thread rln-000 runs although main has returned");
	run(forgets_thread, &r, RLN_SIM_LEAK, "thread lonely was not joined");
	run(breaks_the_kernel, &r, RLN_SIM_BROKEN, "the ring was abused");
	run(pass, &r, RLN_SIM_PASSED, ""); /* and nothing of it is left */
}

/* ---- faults by class */
TEST_LIMIT(sim_api_each_class_of_faults_alone, 120)
{
	for (unsigned class = 0; class < RLN_SIM_CLASSES; class ++) {
		rln_sim_config cfg = { .main = echo_scenario };
		uint64_t faults = 0;
		unsigned broken = 0;

		if (class == RLN_SIM_MEMORY)
			continue;
		for (unsigned i = 0; i < RLN_SIM_CLASSES; i++)
			cfg.faults[i] = i == class ? RLN_SIM_OFTEN : RLN_SIM_OFF;
		for (cfg.seed = 1; cfg.seed <= 40; cfg.seed++) {
			struct echo x = { .clients = 2, .bytes = 40 };
			rln_sim_result r;

			cfg.arg = &x;
			if (rln_sim_run(&cfg, &r))
				test_fail(__FILE__, __LINE__, "class %u: %s", class, r.what);
			faults += r.faults;
			broken += x.broken;
		}
		printf("  class %u: %llu faults, %u broken\n", class, (unsigned long long)faults,
		       broken);
		CHECK(faults > 0);
		CHECK((class == RLN_SIM_RESET || class == RLN_SIM_REFUSE) == (broken > 0));
	}
}

static int starts_in_need(void *arg)
{
	unsigned *started = arg;
	rln_runtime *rt;
	int e = rln_start(&(rln_config){ .workers = 2 }, &rt);

	RLN_SIM_CHECK(e == 0 || e == -ENOMEM);
	if (e)
		return 0;
	(*started)++;
	rln_shutdown(rt);
	return rln_wait(rt);
}

TEST_LIMIT(sim_api_memory_fails_only_when_asked, 60)
{
	rln_sim_config cfg = { .main = starts_in_need };
	unsigned started = 0;
	rln_sim_result r;

	cfg.arg = &started;
	for (cfg.seed = 1; cfg.seed <= 50; cfg.seed++)
		CHECK_INT(rln_sim_run(&cfg, &r), ==, 0);
	CHECK_INT(started, ==, 50);
	cfg.faults[RLN_SIM_MEMORY] = RLN_SIM_OFTEN;
	for (cfg.seed = 1; cfg.seed <= 50; cfg.seed++)
		if (rln_sim_run(&cfg, &r))
			test_fail(__FILE__, __LINE__, "seed %u: %s", (unsigned)cfg.seed, r.what);
	CHECK_INT(started, <, 90);
}

static int calm(void *arg)
{
	struct echo *x = arg;

	rln_sim_calm();
	return echo_scenario(x);
}

TEST(sim_api_calm_means_no_more_faults)
{
	rln_sim_config cfg = { .main = calm };

	for (unsigned i = 0; i < RLN_SIM_CLASSES; i++)
		cfg.faults[i] = RLN_SIM_OFTEN;
	for (cfg.seed = 1; cfg.seed <= 20; cfg.seed++) {
		struct echo x = { .clients = 3, .bytes = 40 };
		rln_sim_result r;

		cfg.arg = &x;
		CHECK_INT(rln_sim_run(&cfg, &r), ==, 0);
		CHECK_INT(r.faults, ==, 0);
		CHECK_INT(x.done, ==, 3);
	}
}

/* ---- threads */
static int whole_program(void *arg)
{
	struct echo *x = arg;
	rln_listen_opts l = {
		.addr = "127.0.0.1:7", .on_conn = serve, .on_close = closed, .arg = x
	};

	return 40 + rln_main(&(rln_config){ .listen = &l, .nlisten = 1 });
}

static int two_programs(void *arg)
{
	struct echo *x = arg;
	rln_sim_thread *t;
	int result;

	x->port = 7;
	RLN_SIM_CHECK(rln_sim_start(whole_program, x, "a server of ours", &t) == 0);
	if (x->stop_early)
		RLN_SIM_CHECK(rln_sim_terminate(t) == 0);
	RLN_SIM_CHECK(rln_sim_sleep(RLN_SEC(1)) == 0);
	if (!x->stop_early)
		RLN_SIM_CHECK(rln_main(&(rln_config){ .workers = 1, .main = clients, .arg = x }) ==
			      0);
	RLN_SIM_CHECK(rln_sim_terminate(t) == 0);
	RLN_SIM_CHECK(rln_sim_join(t, &result) == 0);
	RLN_SIM_CHECK(result == 40);
	return 0;
}

TEST(sim_api_programs_beside_main_end_by_terminate)
{
	rln_sim_config cfg = { .main = two_programs };

	for (cfg.seed = 1; cfg.seed <= 40; cfg.seed++) {
		struct echo x = { .clients = 2, .bytes = 20, .stop_early = cfg.seed % 4 == 0 };
		rln_sim_result r;

		cfg.arg = &x;
		if (rln_sim_run(&cfg, &r))
			test_fail(__FILE__, __LINE__, "seed %u: %s", (unsigned)cfg.seed, r.what);
		CHECK_INT(x.done + x.broken, ==, x.stop_early ? 0 : 2);
	}
}

static int sleeps_an_hour(void *arg)
{
	rln_ns before = rln_now();

	(void)arg;
	RLN_SIM_CHECK(rln_sim_sleep(RLN_SEC(3600)) == 0);
	RLN_SIM_CHECK(rln_now() - before >= RLN_SEC(3600));
	RLN_SIM_CHECK(rln_sim_sleep(-1) == 0);
	return 0;
}

TEST(sim_api_sleep_is_virtual_time)
{
	rln_sim_result r;
	rln_sim_config cfg = { .main = sleeps_an_hour };

	CHECK_INT(rln_sim_run(&cfg, &r), ==, 0);
	CHECK_INT(r.elapsed, >=, RLN_SEC(3600));
}

static int count_workers(void *arg)
{
	*(unsigned *)arg = rln_workers();
	return 0;
}

static int main_workers(void *arg)
{
	return rln_main(&(rln_config){ .main = count_workers, .arg = arg });
}

TEST(sim_api_cpus_are_workers)
{
	unsigned n = 0, seen = 0;
	rln_sim_config cfg = { .main = main_workers, .arg = &n, .cpus = 7, .own_sizes = true };
	rln_sim_result r;

	CHECK_INT(rln_sim_run(&cfg, &r), ==, 0);
	CHECK_INT(n, ==, 7);
	cfg.cpus = 0;
	for (cfg.seed = 0; cfg.seed < 30; cfg.seed++) {
		CHECK_INT(rln_sim_run(&cfg, &r), ==, 0);
		seen |= 1u << n;
	}
	CHECK_INT(seen, ==, 0x1e); /* 1 to 4, each of them */
}

/* ---- used wrongly */
static int nested(void *arg)
{
	rln_sim_result r;

	(void)arg;
	RLN_SIM_CHECK(rln_sim_run(&(rln_sim_config){ .main = pass }, &r) == -EBUSY);
	RLN_SIM_CHECK(rln_sim_search(&(rln_sim_config){ .main = pass }, 1, 0, &r) == -EBUSY);
	RLN_SIM_CHECK(rln_sim_main(&(rln_sim_config){ .main = pass }, 0, NULL) == 2);
	return 0;
}

static int misuse_in_task(void *arg)
{
	rln_sim_thread *t = arg;

	RLN_SIM_CHECK(rln_sim_join(t, NULL) == -EDEADLK);
	RLN_SIM_CHECK(rln_sim_sleep(1) == -EDEADLK);
	return 0;
}

static rln_sim_thread *self;

static int joins_itself(void *arg)
{
	(void)arg;
	RLN_SIM_CHECK(rln_sim_join(self, NULL) == -EDEADLK);
	return 9;
}

static int misuse(void *arg)
{
	int result = 0;

	(void)arg;
	RLN_SIM_CHECK(rln_sim_start(NULL, NULL, NULL, &self) == -EINVAL);
	RLN_SIM_CHECK(rln_sim_start(pass, NULL, NULL, NULL) == -EINVAL);
	RLN_SIM_CHECK(rln_sim_join(NULL, NULL) == -EINVAL);
	RLN_SIM_CHECK(rln_sim_terminate(NULL) == -EINVAL);
	RLN_SIM_CHECK(rln_sim_rand(0) == 0);
	RLN_SIM_CHECK(rln_sim_start(joins_itself, NULL, NULL, &self) == 0);
	RLN_SIM_CHECK(
		rln_main(&(rln_config){ .workers = 1, .main = misuse_in_task, .arg = self }) == 0);
	RLN_SIM_CHECK(rln_sim_join(self, &result) == 0);
	RLN_SIM_CHECK(result == 9);
	RLN_SIM_CHECK(rln_main(NULL) == 2);
	return 0;
}

static void fail_outside(void)
{
	rln_sim_fail("by %s", "myself");
}

/* ---- a runtime without a thread of its own */
static int sleeps_and_returns_3(void *arg)
{
	(void)arg;
	return rln_sleep(RLN_MS(5)) < 0 ? 1 : 3;
}

static int embeds(void *arg)
{
	const rln_config c = { .embed = true, .main = sleeps_and_returns_3 };
	rln_runtime *rt;
	unsigned *steps = arg;
	int e = rln_main(&c);

	if (e != 3)
		rln_sim_fail("rln_main: %d", e);
	e = rln_start(&c, &rt);
	if (e)
		rln_sim_fail("rln_start: %d", e);
	for (; rln_step(rt) != RLN_STEP_OVER; ++*steps)
		rln_sim_sleep(RLN_US(300));
	e = rln_wait(rt);
	if (e)
		rln_sim_fail("rln_wait: %d", e);
	return 0;
}

TEST(sim_run_steps_an_embedded_runtime)
{
	unsigned steps = 0;
	rln_sim_result r;

	for (uint64_t seed = 1; seed <= 100; seed++) {
		rln_sim_config c = { .main = embeds, .arg = &steps, .seed = seed };

		CHECK_INT(rln_sim_run(&c, &r), ==, 0);
	}
	CHECK_INT(steps, >, 100);
}

TEST(sim_api_misuse_has_its_errors)
{
	rln_sim_config good = { .main = pass }, bad = good;
	rln_sim_thread *t = (rln_sim_thread *)&good;
	rln_sim_result r;
	rln_runtime *rt;

	run(nested, &r, RLN_SIM_PASSED, "");
	run(misuse, &r, RLN_SIM_PASSED, "");
	CHECK_INT(rln_sim_run(NULL, &r), ==, -EINVAL);
	CHECK_INT(rln_sim_run(&good, NULL), ==, -EINVAL);
	bad.main = NULL;
	CHECK_INT(rln_sim_run(&bad, &r), ==, -EINVAL);
	bad = good;
	bad.faults[2] = RLN_SIM_OFTEN + 1;
	CHECK_INT(rln_sim_run(&bad, &r), ==, -EINVAL);
	bad = good;
	bad.cpus = 65;
	CHECK_INT(rln_sim_run(&bad, &r), ==, -EINVAL);
	bad = good;
	bad.stack_size = 100;
	CHECK_INT(rln_sim_run(&bad, &r), ==, -EINVAL);
	bad = good;
	bad.time_limit = -1;
	CHECK_INT(rln_sim_run(&bad, &r), ==, -EINVAL);
	CHECK_INT(rln_sim_search(&bad, 1, 0, &r), ==, -EINVAL);
	CHECK_INT(rln_sim_search(&good, 0, 0, &r), ==, -EINVAL);
	CHECK_INT(rln_sim_search(&good, 1, 0, NULL), ==, -EINVAL);
	CHECK_INT(rln_sim_start(pass, NULL, NULL, &t), ==, -EPERM);
	CHECK_INT(rln_sim_join(t, NULL), ==, -EPERM);
	CHECK_INT(rln_sim_terminate(t), ==, -EPERM);
	CHECK_INT(rln_sim_sleep(1), ==, -EPERM);
	CHECK_INT(rln_sim_rand(10), ==, 0);
	rln_sim_calm();
	rln_sim_note("nobody %s", "reads this");
	CHECK_INT(rln_start(&(rln_config){ 0 }, &rt), ==, -EPERM);
	CHECK_INT(rln_main(&(rln_config){ 0 }), ==, 2);
	CHECK_DIES(fail_outside, SIGABRT, "no simulation runs: by myself");
}
