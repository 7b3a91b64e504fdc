/* The seed that a crash prints, once in this program. */
#include "../seed.h"
#include "driver.h"

void seed_running(uint64_t seed)
{
	seed_set(seed);
}
