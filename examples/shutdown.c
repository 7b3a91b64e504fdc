/*
 * Graceful shutdown. SIGTERM begins a drain: no new clients, what is being answered is answered,
 * idle connections end, and so does the background task. Every request here takes 200 ms: none is
 * lost to a restart.
 * usage: shutdown [ADDR]
 */
#include "announce.h"

static int answered; /* one worker: no locking */

static int on_request(rln_conn c, void *arg)
{
	rln_view line;
	ssize_t n = rln_recv_until(c, "\n", 1024, &line);

	(void)arg;
	if (n <= 0)
		return n < 0 ? (int)n : RLN_CLOSE;
	if (rln_sleep(RLN_MS(200)) < 0) /* the work; cut short only after drain_timeout */
		return RLN_CLOSE;
	answered++;
	return rln_send(c, line.data, line.len) < 0 ? RLN_CLOSE : RLN_KEEP;
}

/* In the background until the drain has seen the last connection off. */
static int background(void *arg)
{
	(void)arg;
	announce(1);
	while (rln_sleep(RLN_SEC(60)) == 0)
		fprintf(stderr, "%d answered\n", answered);
	printf("drained, %d answered\n", answered);
	return 0;
}

int main(int argc, char **argv)
{
	const rln_listen_opts l = { .addr = argc > 1 ? argv[1] : "127.0.0.1:7005",
				    .on_request = on_request };

	return rln_main(&(rln_config){ .workers = 1,
				       .listen = &l,
				       .nlisten = 1,
				       .main = background,
				       .drain_timeout = RLN_SEC(10) });
}
