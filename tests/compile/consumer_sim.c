/* A user's own test in the simulator, with a conn_close of its own as well. */
#include <ringline.h>
#include <ringline/sim.h>
#include <stdio.h>
#include <string.h>

int conn_close(int n);
int conn_close(int n)
{
	return n + 1;
}

static void echo(rln_conn c, void *arg)
{
	rln_view v;

	(void)arg;
	while (rln_recv(c, &v) > 0)
		if (rln_send(c, v.data, v.len) < 0)
			break;
}

static int client(void *arg)
{
	RLN_CONN(c);
	rln_view v;

	(void)arg;
	RLN_SIM_CHECK(rln_connect("127.0.0.1:7", NULL, &c) == 0);
	RLN_SIM_CHECK(rln_send(c, "consumer", 8) == 8);
	RLN_SIM_CHECK(rln_recv_exact(c, 8, &v) == 8);
	RLN_SIM_CHECK(memcmp(v.data, "consumer", 8) == 0);
	return 0;
}

static int scenario(void *arg)
{
	const rln_listen_opts l = { .addr = "127.0.0.1:7", .on_conn = echo };
	const rln_config server = { .listen = &l, .nlisten = 1 }, ours = { .main = client };
	rln_runtime *rt;
	int status;

	(void)arg;
	RLN_SIM_CHECK(rln_start(&server, &rt) == 0);
	status = rln_main(&ours);
	rln_shutdown(rt);
	return rln_wait(rt) < 0 ? 1 : status;
}

int main(void)
{
	rln_sim_config cfg = { .main = scenario };
	rln_sim_result r;

	cfg.faults[RLN_SIM_RESET] = cfg.faults[RLN_SIM_REFUSE] = RLN_SIM_OFF;
	if (rln_sim_search(&cfg, 50, 0, &r) != 0) {
		printf("seed %llu: %s\n", (unsigned long long)r.seed, r.what);
		return 1;
	}
	if (r.runs != 50 || conn_close(41) != 42)
		return 1;
	puts("consumer ran");
	return 0;
}
