/* Every macro of the headers in use; compiled as C and as C++, never run. */
#include <ringline.h>

int job(void *arg);
ssize_t use(rln_conn c);

int job(void *arg)
{
	(void)arg;
	return 0;
}

ssize_t use(rln_conn c)
{
	RLN_DEADLINE(whole, RLN_SEC(2));
	RLN_CONN(other);
	static rln_task_opts opts;
	static rln_view view;
	rln_task task;

	opts.name = "job";
	rln_go(job, NULL, NULL);
	rln_go_on(NULL, 0, job, NULL, &opts);
	if (rln_spawn(job, NULL, &opts, &task) == 0)
		rln_join(task, NULL);
	if (rln_connect("127.0.0.1:1", NULL, &other) < 0)
		return -1;
	RLN_SHIELD(last_words, RLN_MS(50) + RLN_US(1));
	rln_send(other, "bye", 3);
	return RLN_WITHIN(RLN_FOREVER, rln_recv(c, &view));
}
