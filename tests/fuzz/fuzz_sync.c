/*
 * What tasks of one worker communicate by: channels, a semaphore, a lock, select, deadlines and
 * cancels, in any sequence. Every item that was accepted is received once or left in its channel,
 * none that was refused; permits are never taken that nobody gave; one task holds the lock.
 */
#include "fuzz.h"

#include "../sim/runtime_rig.h"
#include "ringline/select.h"
#include "ringline/sync.h"
#include "ringline/time.h"

#define CHANS 2
#define TASKS 5
#define ITEMS 4096

enum fate { UNKNOWN, ACCEPTED, REFUSED };

static struct fuzz in;
static struct rig *rig;
static rln_chan chan[CHANS];
static rln_sem sem;
static rln_mutex lock;
static enum fate fate[ITEMS];
static bool received[ITEMS];
static unsigned items, given, taken, holders;
static bool over;

static rln_ns some_time(void)
{
	return RLN_US(fuzz_below(&in, 2000));
}

static void got(unsigned item)
{
	FUZZ_CHECK(item < items && !received[item] && fate[item] != REFUSED);
	received[item] = true;
}

static void sent(unsigned item, int r)
{
	FUZZ_CHECK(r == 0 || r == -EPIPE || r == -EAGAIN || r == -ETIME || r == -ECANCELED);
	fate[item] = r ? REFUSED : ACCEPTED;
	FUZZ_CHECK(!r || !received[item]);
}

static void send_item(rln_chan *ch)
{
	unsigned item = items++;

	switch (fuzz_below(&in, 3)) {
	case 0:
		sent(item, rln_chan_try_send(ch, &item));
		break;
	case 1:
		sent(item, RLN_WITHIN(some_time(), rln_chan_send(ch, &item)));
		break;
	default:
		sent(item, rln_chan_send(ch, &item));
	}
}

static void recv_item(rln_chan *ch)
{
	unsigned item = ITEMS;
	int r;

	switch (fuzz_below(&in, 3)) {
	case 0:
		r = rln_chan_try_recv(ch, &item);
		break;
	case 1:
		r = RLN_WITHIN(some_time(), rln_chan_recv(ch, &item));
		break;
	default:
		r = rln_chan_recv(ch, &item);
	}
	FUZZ_CHECK(r == 1 || r == 0 || r == -EAGAIN || r == -ETIME || r == -ECANCELED);
	if (r == 1)
		got(item);
	else
		FUZZ_CHECK(item == ITEMS);
}

/* One of them takes effect, or none. */
static void choose(void)
{
	unsigned in_item = ITEMS, out_item = items++;
	rln_arm arms[] = { rln_on_recv(&chan[0], &in_item), rln_on_send(&chan[1], &out_item),
			   rln_on_sem(&sem) };
	int r = RLN_WITHIN(some_time(), rln_select(arms, 3));

	FUZZ_CHECK((r >= 0 && r < 3) || r == -ETIME || r == -ECANCELED);
	if (r == 0 && arms[0].res == 1)
		got(in_item);
	else
		FUZZ_CHECK(in_item == ITEMS);
	sent(out_item, r == 1 ? arms[1].res : -ECANCELED);
	if (r == 2 && arms[2].res == 0)
		FUZZ_CHECK(++taken <= given);
}

static void hold_lock(void)
{
	if (rln_lock(&lock) < 0)
		return;
	FUZZ_CHECK(++holders == 1);
	if (fuzz_below(&in, 2))
		(void)rln_yield();
	holders--;
	rln_unlock(&lock);
}

static void permits(void)
{
	if (fuzz_below(&in, 2)) {
		unsigned n = (unsigned)fuzz_below(&in, 3);
		given += n;
		rln_sem_post(&sem, n);
	} else if (RLN_WITHIN(some_time(), rln_sem_take(&sem)) == 0) {
		FUZZ_CHECK(++taken <= given);
	}
}

static int actor(void *arg)
{
	(void)arg;
	while (in.n && items < ITEMS - 8 && !rln_cancelled()) {
		rln_chan *ch = &chan[fuzz_below(&in, CHANS)];
		switch (fuzz_below(&in, 8)) {
		case 0:
		case 1:
			send_item(ch);
			break;
		case 2:
		case 3:
			recv_item(ch);
			break;
		case 4:
			choose();
			break;
		case 5:
			hold_lock();
			break;
		case 6:
			permits();
			break;
		default:
			(void)rln_sleep(some_time());
		}
	}
	return 0;
}

/* Whoever waits when the input is used up is cancelled; then what is left in the channels counts.
 */
static int parent(void *arg)
{
	rln_task child[TASKS];
	unsigned n = 0, item;

	(void)arg;
	for (unsigned i = 0; i < CHANS; i++)
		FUZZ_CHECK(rln_chan_open(&chan[i], sizeof item, fuzz_below(&in, 3)) == 0);
	while (n < TASKS && rln_spawn(actor, NULL, NULL, &child[n]) == 0)
		n++;
	while (in.n && items < ITEMS - 8) {
		(void)rln_sleep(some_time());
		if (fuzz_below(&in, 16) == 0)
			(void)rln_cancel(child[fuzz_below(&in, n)]);
		else if (fuzz_below(&in, 64) == 0)
			rln_chan_close(&chan[fuzz_below(&in, CHANS)]);
	}
	for (unsigned i = 0; i < n; i++)
		(void)rln_cancel(child[i]);
	for (unsigned i = 0; i < n; i++)
		FUZZ_CHECK(rln_join(child[i], NULL) == 0);
	for (unsigned i = 0; i < CHANS; i++) {
		while (rln_chan_try_recv(&chan[i], &item) == 1)
			got(item);
		rln_chan_free(&chan[i], NULL);
	}
	for (unsigned i = 0; i < items; i++)
		FUZZ_CHECK(received[i] == (fate[i] == ACCEPTED));
	over = true;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct world_config wc = { .fault = { [0 ... FAULT_COUNT - 1] = RATE_OFF } };
	rln_config c = { .max_tasks = 16 };

	in = (struct fuzz){ data, n > 512 ? 512 : n };
	items = given = taken = holders = 0;
	over = false;
	memset(received, 0, sizeof received);
	memset(fate, 0, sizeof fate);
	memset(chan, 0, sizeof chan);
	sem = (rln_sem){ 0 };
	lock = (rln_mutex){ 0 };
	struct world *w = world_new(1, &wc);
	world_enter(w);
	rig = calloc(1, sizeof *rig);
	rig_sizes(w, &c);
	rig_init(rig, w, &c);
	rig_open(rig);
	rig_go(rig, 0, parent, NULL);
	while (!over)
		rig_turn(rig, 0, world_now(w) + RLN_SEC(1));
	rig_stop(rig);
	free(rig);
	rig_check_quiet(w);
	world_enter(NULL);
	world_free(w);
	return 0;
}
