/*
 * A client with one deadline over everything it does: connecting, asking and the whole answer.
 * usage: client [ADDR [LINE]]
 */
#include <errno.h>
#include <ringline.h>
#include <stdio.h>
#include <string.h>

static const char *addr = "127.0.0.1:7878", *text = "hello";

/* The answer to line, NUL-terminated, in reply. Returns its length or a negative errno. */
static ssize_t ask(const char *line, char *reply, size_t cap) RLN_WAITS
{
	RLN_DEADLINE(dl, RLN_MS(800)); /* covers what follows, also in functions called from here */
	RLN_CONN(c);		       /* closed on every return */
	rln_view v;
	struct iovec iov[2] = { { (void *)line, strlen(line) }, { "\n", 1 } };
	ssize_t n = rln_connect(addr, NULL, &c);

	if (n == 0)
		n = rln_sendv(c, iov, 2);
	if (n > 0)
		n = rln_recv_until(c, "\n", cap, &v);
	if (n <= 0)
		return n < 0 ? n : -ECONNRESET;
	memcpy(reply, v.data, v.len - 1);
	reply[v.len - 1] = '\0';
	return n;
}

static int client(void *arg)
{
	char reply[512];
	ssize_t n = ask(text, reply, sizeof reply);

	(void)arg;
	if (n == -ETIME)
		fprintf(stderr, "client: no answer from %s within 800 ms\n", addr);
	else if (n < 0)
		fprintf(stderr, "client: %s: %s\n", addr, rln_strerror((int)n));
	else
		printf("%s\n", reply);
	return n < 0;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		addr = argv[1];
	if (argc > 2)
		text = argv[2];
	return rln_main(&(rln_config){ .workers = 1, .main = client });
}
