/*
 * A parser of a pipelined binary protocol: a length of four bytes, then so many bytes, which are
 * sent back. It takes as many messages as have arrived; the answers leave together when the task
 * waits again.
 * usage: parser [ADDR]
 */
#include "announce.h"
#include <string.h>

enum { HEAD = 4, BODY_MAX = 64 * 1024 };

static uint32_t length_at(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void serve(rln_conn c, void *arg)
{
	rln_view v; /* everything not yet consumed; rln_fill() waits until it has grown */

	(void)arg;
	while (rln_fill(c, &v) > 0) {
		size_t off = 0;

		while (v.len - off >= HEAD) {
			size_t n = length_at(v.data + off);

			if (n > BODY_MAX) {
				rln_reset(c);
				return;
			}
			if (v.len - off - HEAD < n)
				break;
			if (rln_send(c, v.data + off, HEAD + n) < 0)
				return;
			off += HEAD + n;
		}
		rln_consume(c, off);
	}
}

int main(int argc, char **argv)
{
	const rln_listen_opts l = { .addr = argc > 1 ? argv[1] : "127.0.0.1:7001",
				    .on_conn = serve };

	return rln_main(&(rln_config){ .listen = &l, .nlisten = 1, .main = announce_main });
}
