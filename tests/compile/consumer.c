/* A user with a conn_close of its own, as the library has one inside. */
#include <ringline.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>

int conn_close(int n);
int conn_close(int n)
{
	return n + 1;
}

int main(void)
{
	if (rln_worker() != UINT_MAX || conn_close(41) != 42)
		return 1;
	if (rln_step(NULL) != -EINVAL || rln_poll_fd(NULL) != -EINVAL)
		return 2;
	puts("consumer ran");
	return 0;
}
