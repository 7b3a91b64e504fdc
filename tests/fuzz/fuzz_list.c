/* base/list.h against arrays: three lists, sixteen nodes. */
#include "fuzz.h"

#include "base/list.h"

#define LISTS 3
#define NODES 16

struct model {
	unsigned at[LISTS][NODES], count[LISTS];
};

static struct list head[LISTS], node[NODES];

static int model_find(const struct model *m, unsigned n, unsigned *index)
{
	for (unsigned l = 0; l < LISTS; l++)
		for (unsigned i = 0; i < m->count[l]; i++)
			if (m->at[l][i] == n) {
				*index = i;
				return (int)l;
			}
	return -1;
}

static void model_insert(struct model *m, unsigned l, unsigned index, unsigned n)
{
	memmove(&m->at[l][index + 1], &m->at[l][index], (m->count[l] - index) * sizeof m->at[l][0]);
	m->at[l][index] = n;
	m->count[l]++;
}

static void model_remove(struct model *m, unsigned n)
{
	unsigned i;
	int l = model_find(m, n, &i);

	if (l < 0)
		return;
	m->count[l]--;
	memmove(&m->at[l][i], &m->at[l][i + 1], (m->count[l] - i) * sizeof m->at[l][0]);
}

static void check(const struct model *m)
{
	unsigned index;

	for (unsigned l = 0; l < LISTS; l++) {
		unsigned i = 0;
		list_for_each (n, &head[l]) {
			FUZZ_CHECK(i < m->count[l] && n == &node[m->at[l][i]]);
			FUZZ_CHECK(n->next->prev == n && n->prev->next == n);
			i++;
		}
		FUZZ_CHECK(i == m->count[l]);
		FUZZ_CHECK(list_empty(&head[l]) == !i);
		FUZZ_CHECK(list_first(&head[l]) == (i ? &node[m->at[l][0]] : NULL));
	}
	for (unsigned n = 0; n < NODES; n++)
		FUZZ_CHECK(list_linked(&node[n]) == (model_find(m, n, &index) >= 0));
}

static void splice(struct model *m, unsigned to, unsigned from)
{
	if (to == from)
		return;
	list_splice_back(&head[to], &head[from]);
	while (m->count[from]) {
		unsigned n = m->at[from][0];
		model_remove(m, n);
		model_insert(m, to, m->count[to], n);
	}
}

static void walk_removing(struct model *m, unsigned l, unsigned mask)
{
	unsigned seen = 0, before = m->count[l];

	list_for_each_safe (n, next, &head[l]) {
		unsigned i = (unsigned)(n - node);
		seen++;
		if (!(mask >> i & 1))
			continue;
		list_remove(n);
		model_remove(m, i);
	}
	FUZZ_CHECK(seen == before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz f = { data, size };
	struct model m = { 0 };

	for (unsigned l = 0; l < LISTS; l++)
		list_init(&head[l]);
	for (unsigned n = 0; n < NODES; n++)
		list_init(&node[n]);
	while (f.n) {
		unsigned op = (unsigned)fuzz_below(&f, 7), l = (unsigned)fuzz_below(&f, LISTS);
		unsigned n = (unsigned)fuzz_below(&f, NODES), i;
		int in = model_find(&m, n, &i);

		if (op < 3 && in >= 0)
			op = 3;
		switch (op) {
		case 0:
			list_push_front(&head[l], &node[n]);
			model_insert(&m, l, 0, n);
			break;
		case 1:
			list_push_back(&head[l], &node[n]);
			model_insert(&m, l, m.count[l], n);
			break;
		case 2:
			if (!m.count[l])
				break;
			i = n % m.count[l];
			list_insert(&node[m.at[l][i]], &node[n]);
			model_insert(&m, l, i + 1, n);
			break;
		case 3: /* twice is once */
			list_remove(&node[n]);
			list_remove(&node[n]);
			model_remove(&m, n);
			break;
		case 4: {
			struct list *first = list_pop_front(&head[l]);
			FUZZ_CHECK(first == (m.count[l] ? &node[m.at[l][0]] : NULL));
			if (first)
				model_remove(&m, m.at[l][0]);
			break;
		}
		case 5:
			splice(&m, l, n % LISTS);
			break;
		default:
			walk_removing(&m, l, (unsigned)fuzz_below(&f, 1u << NODES));
		}
		check(&m);
	}
	return 0;
}
