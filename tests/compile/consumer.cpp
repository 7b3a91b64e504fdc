// The same from C++.
#include <ringline.h>
#include <cerrno>
#include <climits>
#include <cstdio>

int main()
{
	rln_config cfg = {};
	if (cfg.workers != 0 || rln_worker() != UINT_MAX)
		return 1;
	cfg.embed = true;
	if (rln_enter(nullptr) != -EINVAL || RLN_STEP_IDLE != 0)
		return 2;
	std::puts("consumer ran");
	return 0;
}
