/*
 * Which seed was running when a simulated test died, whatever killed it: printed from the handlers
 * of fatal signals and from AddressSanitizer's report.
 */
#ifndef RINGLINE_TESTS_SIM_SEED_H
#define RINGLINE_TESTS_SIM_SEED_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t seed_now_;

static void seed_print_(void)
{
	char text[48] = "seed ", *p = text + sizeof(text) - 1;
	uint64_t v = seed_now_;
	ssize_t done;

	*p = '\n';
	do {
		*--p = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	memmove(text + 5, p, (size_t)(text + sizeof(text) - p));
	done = write(2, text, 5 + (size_t)(text + sizeof(text) - p));
	(void)done;
}

void __asan_on_error(void);
void __asan_on_error(void)
{
	seed_print_();
}

static void seed_signal_(int sig)
{
	signal(sig, SIG_DFL);
	seed_print_();
	raise(sig);
}

/* From here on the process runs this seed. */
__attribute__((unused)) static void seed_set(uint64_t seed)
{
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGALRM };
	static bool installed;

	seed_now_ = seed;
	if (installed)
		return;
	installed = true;
	for (unsigned i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		signal(fatal[i], seed_signal_);
}

/*
 * How many seeds to run: RINGLINE_SEEDS, or n, but RINGLINE_SEEDS_MAX at most; the first one is
 * RINGLINE_SEED, or 1.
 */
__attribute__((unused)) static uint64_t seed_count(uint64_t n)
{
	const char *s = getenv("RINGLINE_SEEDS"), *most = getenv("RINGLINE_SEEDS_MAX");

	if (most && strtoull(most, NULL, 10) < n)
		n = strtoull(most, NULL, 10);
	return s ? strtoull(s, NULL, 10) : getenv("RINGLINE_SEED") ? 1 : n;
}

__attribute__((unused)) static uint64_t seed_first(void)
{
	const char *s = getenv("RINGLINE_SEED");

	return s ? strtoull(s, NULL, 10) : 1;
}

#endif
