// The same from C++.
#include <ringline.h>
#include <climits>
#include <cstdio>

int main()
{
	rln_config cfg = {};
	if (cfg.workers != 0 || rln_worker() != UINT_MAX)
		return 1;
	std::puts("consumer ran");
	return 0;
}
