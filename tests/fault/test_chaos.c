/*
 * Real traffic through the whole runtime on the real kernel, with the faults of chaos.h: echo in
 * the three modes and the key-value server in the three modes, clients that are tasks of the same
 * runtime and clients that are plain threads. Every byte must be right, and nothing may be left.
 * RINGLINE_SEED and RINGLINE_SECONDS: where to begin, and for how long.
 */
#include "../e2e/echo_modes.h"
#include "../e2e/rig.h"
#include "chaos.h"
#include "kv/kv.h"
#include <signal.h>

#define LISTENERS 7 /* echo in three modes, kv in three modes, echo on a unix socket */
#define THREADS 3
#define TASKS 10
#define SEEDS 40

static struct {
	uint64_t rng;
	char addr[LISTENERS][64];
	struct sockaddr_in at[3]; /* of the echo listeners, for the threads */
	struct kv *kv;
	unsigned done;
} run;

/* Not of the same sequence on every run: the threads share it. The sizes come before they start. */
static uint64_t draw(uint64_t n)
{
	uint64_t x = __atomic_add_fetch(&run.rng, 0x9e3779b97f4a7c15, __ATOMIC_RELAXED);

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return (x ^ x >> 31) % n;
}

static size_t draw_size(size_t max)
{
	return 1 + draw(UINT64_C(1) << draw(1 + (unsigned)(63 - __builtin_clzll(max))));
}

/* ---- clients that are tasks */

static rln_conn connect_to(unsigned listener)
{
	rln_conn c;
	int e;

	do {
		e = rln_connect(run.addr[listener], NULL, &c);
		if (e == -ECONNREFUSED || e == -EAGAIN)
			CHECK_INT(rln_sleep(RLN_MS(1)), ==, 0);
	} while (e == -ECONNREFUSED || e == -EAGAIN);
	CHECK_INT(e, ==, 0);
	return c;
}

struct flow {
	rln_conn c;
	const uint8_t *p;
	size_t n;
	bool pieces; /* zero-copy ones among the sends */
};

static int flow_out(void *arg)
{
	struct flow *f = arg;

	for (size_t at = 0; at < f->n;) {
		size_t step = draw_size(65536);
		if (step > f->n - at)
			step = f->n - at;
		if (f->pieces && draw(2)) {
			uint8_t *own = malloc(step);
			memcpy(own, f->p + at, step);
			rln_piece pc = { own, step, free, own };
			CHECK_INT(rln_send_pieces(f->c, &pc, 1), ==, step);
		} else {
			CHECK_INT(rln_send(f->c, f->p + at, step), ==, step);
		}
		at += step;
	}
	return 0;
}

static void flow_check(const struct flow *f, const void *p, size_t at, size_t n)
{
	CHECK(at + n <= f->n);
	for (size_t i = 0; i < n; i++)
		if (((const uint8_t *)p)[i] != f->p[at + i])
			test_fail(__FILE__, __LINE__, "byte %zu of %zu is another", at + i, f->n);
}

/* What comes back must be want; by several ways to receive it. */
static void flow_in(const struct flow *want)
{
	uint8_t *own = malloc(70000);
	bool fills = draw(2);
	size_t at = 0;
	rln_view v;

	while (at < want->n) {
		ssize_t n;
		switch (draw(4)) {
		case 0:
			/* what was shown and left is not shown again by rln_fill: one or the other
			 */
			n = fills ? rln_fill(want->c, &v) : rln_peek(want->c, 1, &v);
			CHECK_INT(n, >, 0);
			if (!fills)
				n = (ssize_t)(1 + draw((uint64_t)n));
			flow_check(want, v.data, at, (size_t)n);
			CHECK_INT(rln_consume(want->c, (size_t)n), ==, 0);
			at += (size_t)n;
			continue;
		case 1:
			n = rln_recv_into(want->c, own, 70000);
			v.data = own;
			break;
		case 2:
			n = rln_recv_full(want->c, own,
					  want->n - at < 70000 ? want->n - at : 70000);
			v.data = own;
			break;
		default:
			n = rln_recv(want->c, &v);
		}
		CHECK_INT(n, >, 0);
		flow_check(want, v.data, at, (size_t)n);
		at += (size_t)n;
	}
	free(own);
}

static void exchange(rln_conn c, const struct flow *out, const struct flow *want)
{
	rln_view v;
	rln_task sender;
	int result;

	CHECK_INT(rln_spawn(flow_out, (void *)(uintptr_t)out, NULL, &sender), ==, 0);
	flow_in(want);
	CHECK_INT(rln_join(sender, &result), ==, 0);
	CHECK_INT(rln_shutdown_send(c), ==, 0);
	CHECK_INT(rln_recv(c, &v), ==, 0);
	CHECK_INT(rln_close(c), ==, 0);
}

static int echo_task(void *arg)
{
	unsigned i = (unsigned)(uintptr_t)arg;
	size_t n = draw_size(300000);
	uint8_t *p = pattern_new(n);
	struct flow f = { .p = p, .n = n, .pieces = draw(2) };

	f.c = connect_to(i % 3 == 2 ? 6 : (unsigned)draw(3));
	exchange(f.c, &f, &f);
	free(p);
	return 0;
}

/* Commands in one pipeline, and the replies they must get. */
static int kv_task(void *arg)
{
	unsigned i = (unsigned)(uintptr_t)arg, commands = 1 + (unsigned)draw(40);
	char *ask, *reply;
	size_t ask_n, reply_n;
	FILE *a = open_memstream(&ask, &ask_n), *r = open_memstream(&reply, &reply_n);

	for (unsigned k = 0; k < commands; k++) {
		int n = (int)draw_size(20000);
		char *value = malloc((size_t)n + 1);
		memset(value, 'a' + (int)(k % 26), (size_t)n);
		value[n] = '\0';
		fprintf(a, "*3\r\n$3\r\nSET\r\n$6\r\nk%02u%03u\r\n$%d\r\n%s\r\n", i, k, n, value);
		fprintf(a, "*2\r\n$3\r\nGET\r\n$6\r\nk%02u%03u\r\n", i, k);
		fprintf(r, "+OK\r\n$%d\r\n%s\r\n", n, value);
		free(value);
	}
	fclose(a);
	fclose(r);
	struct flow out = { .p = (uint8_t *)ask, .n = ask_n },
		    in = { .p = (uint8_t *)reply, .n = reply_n };
	out.c = in.c = connect_to(3 + (unsigned)draw(3));
	exchange(out.c, &out, &in);
	free(ask);
	free(reply);
	return 0;
}

/* ---- clients that are threads */

static void thread_out(void *arg)
{
	write_pattern_peer(arg);
	shutdown(((struct transfer *)arg)->fd, SHUT_WR);
}

static void *thread_main(void *arg)
{
	struct transfer out = { .total = draw_size(300000), .step = draw_size(30000) }, in;
	struct sockaddr_in *at = arg;
	pthread_t writer;

	out.fd = client_to((struct sockaddr *)at, sizeof *at);
	in = out;
	struct peer p = { .fn = thread_out, .arg = &out, .end = -1 };
	CHECK(pthread_create(&writer, NULL, peer_main, &p) == 0);
	read_pattern_peer(&in);
	CHECK(pthread_join(writer, NULL) == 0);
	CHECK_INT(in.got, ==, in.total);
	CHECK_INT(in.ended, ==, 0);
	close(out.fd);
	__atomic_fetch_add(&run.done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void addr_note(unsigned i)
{
	struct sockaddr_storage ss;
	const struct sockaddr_in *in = (const void *)&ss;

	if (i == 6)
		return;
	CHECK_INT(rln_listen_addr(NULL, i, &ss), ==, 0);
	snprintf(run.addr[i], sizeof run.addr[i], "127.0.0.1:%u", ntohs(in->sin_port));
	if (i < 3)
		run.at[i] = *in;
}

static int main_task(void *arg)
{
	rln_task task[TASKS];
	pthread_t thread[THREADS];

	(void)arg;
	for (unsigned i = 0; i < LISTENERS; i++)
		addr_note(i);
	for (unsigned i = 0; i < THREADS; i++)
		CHECK(pthread_create(&thread[i], NULL, thread_main, &run.at[i % 3]) == 0);
	for (uintptr_t i = 0; i < TASKS; i++)
		CHECK_INT(rln_spawn(i % 2 ? kv_task : echo_task, (void *)i, NULL, &task[i]), ==, 0);
	for (unsigned i = 0; i < TASKS; i++)
		CHECK_INT(rln_join(task[i], NULL), ==, 0);
	TASK_EVENTUALLY(__atomic_load_n(&run.done, __ATOMIC_ACQUIRE) == THREADS);
	for (unsigned i = 0; i < THREADS; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
	return 0;
}

/* ---- one seed */

static void quiet(int level, const char *msg, void *arg)
{
	(void)arg;
	if (level <= RLN_LOG_ERROR)
		printf("  %s\n", msg);
}

static void listeners(rln_listen_opts *l)
{
	for (int i = 0; i < LISTENERS; i++) {
		if (i < 3)
			l[i] = echo_mode(i);
		else if (i < 6)
			kv_listen_opts(run.kv, (enum kv_mode)(i - 3), NULL, &l[i]);
		else
			l[i] = echo_mode((int)draw(3));
		l[i].addr = i == 6 ? run.addr[6] : "127.0.0.1:0";
		l[i].max_conns = 64;
		l[i].backlog = 1 << draw(6);
		l[i].recv_max = 1024 + draw_size(65536);
		l[i].send_high = draw_size(65536);
		/* a machine that is busy is no reason to give a peer up */
		l[i].close_timeout = l[i].close_max = l[i].send_stall = RLN_SEC(300);
	}
}

static void seed_run(uint64_t seed)
{
	unsigned before = open_fds();
	rln_listen_opts l[LISTENERS];
	rln_runtime *rt;

	memset(&run, 0, sizeof run);
	run.rng = seed * 0x9e3779b97f4a7c15;
	run.kv = kv_new();
	snprintf(run.addr[6], sizeof run.addr[6], "unix:@ringline-chaos-%d", (int)getpid());
	listeners(l);
	unsigned sq = 2u << draw(7);
	rln_config c = { .listen = l,
			 .nlisten = LISTENERS,
			 .workers = 1 + (unsigned)draw(2),
			 .no_pin = true,
			 .main = main_task,
			 .file_slots = 64,
			 .sq_entries = sq,
			 .cq_entries = sq * 2,
			 .recv_bufs = 1u << draw(7),
			 .recv_buf_size = 64u << draw(8),
			 .zc_threshold = draw_size(65536),
			 .buffer_budget = 65536 + draw_size(1 << 20),
			 .drain_timeout = RLN_SEC(300),
			 .log = quiet };
	chaos_on(seed);
	CHECK_INT(rln_start(&c, &rt), ==, 0);
	CHECK_INT(rln_wait(rt), ==, 0);
	chaos_off();
	kv_free(run.kv);
	EVENTUALLY(open_fds() == before);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return s ? strtoull(s, NULL, 10) : otherwise;
}

TEST_LIMIT(chaos_traffic_is_byte_exact_and_nothing_is_left, 86400)
{
	uint64_t first = number("RINGLINE_SEED", 1), seconds = number("RINGLINE_SECONDS", 0);
	uint64_t seed = first, faults = 0;
	int64_t end = test_now_ns() + (int64_t)seconds * 1000000000;

	signal(SIGPIPE, SIG_IGN);
	for (; seconds ? test_now_ns() < end : seed < first + SEEDS; seed++) {
		printf("  seed %llu\n",
		       (unsigned long long)seed); /* the last one is the one that failed */
		fflush(stdout);
		alarm(240);
		seed_run(seed);
	}
	alarm(0);
	for (int i = 0; i < CHAOS_COUNT; i++) {
		printf("  %-12s %llu\n", chaos_name(i), (unsigned long long)chaos_counts()[i]);
		faults += chaos_counts()[i];
		if (!seconds && chaos_can(i))
			CHECK_INT(chaos_counts()[i], >, 0);
	}
	printf("  %llu runs from seed %llu, %llu faults\n", (unsigned long long)(seed - first),
	       (unsigned long long)first, (unsigned long long)faults);
}
