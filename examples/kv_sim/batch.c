/* One pipelined batch of random commands, and the replies it must get, to the last byte. */
#include "batch.h"
#include <ringline/sim.h>
#include <stdio.h>
#include <string.h>

enum { COMMANDS = 12, BYTES = 4096 };

/* Add a command to cmd, and to reply what the server must answer. */
static void invent(struct batch *b, char *cmd, char *reply)
{
	unsigned k = (unsigned)rln_sim_rand(BATCH_KEYS);
	char text[24];

	cmd += strlen(cmd);
	reply += strlen(reply);
	switch (rln_sim_rand(4)) {
	case 0:
		b->value[k] = 1 + (long long)rln_sim_rand(1000000);
		sprintf(cmd, "SET %s:%u %lld\r\n", b->name, k, b->value[k]);
		strcpy(reply, "+OK\r\n");
		break;
	case 1:
		sprintf(cmd, "INCR %s:%u\r\n", b->name, k);
		sprintf(reply, ":%lld\r\n", ++b->value[k]);
		break;
	case 2:
		sprintf(cmd, "DEL %s:%u\r\n", b->name, k);
		sprintf(reply, ":%d\r\n", b->value[k] != 0);
		b->value[k] = 0;
		break;
	default:
		sprintf(cmd, "GET %s:%u\r\n", b->name, k);
		sprintf(text, "%lld", b->value[k]);
		if (b->value[k])
			sprintf(reply, "$%zu\r\n%s\r\n", strlen(text), text);
		else
			strcpy(reply, "$-1\r\n");
	}
}

bool batch_run(rln_conn c, struct batch *b) RLN_WAITS
{
	char out[BYTES] = "", in[BYTES] = "";
	rln_view v;

	for (uint64_t n = 1 + rln_sim_rand(COMMANDS); n; n--)
		invent(b, out, in);
	strcat(out, "INCR shared\r\n");
	b->shared->asked++;
	if (rln_send(c, out, strlen(out)) < 0 || rln_recv_exact(c, strlen(in), &v) <= 0)
		return false;
	if (memcmp(v.data, in, v.len) != 0)
		rln_sim_fail("asked\n%sgot\n%.*sinstead of\n%s", out, (int)v.len, v.data, in);
	if (rln_recv_until(c, "\r\n", 32, &v) <= 0)
		return false;
	b->shared->done++;
	return true;
}
