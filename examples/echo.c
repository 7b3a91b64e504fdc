/* Echo: a task per connection, straight-line code. */
#include <ringline.h>

static void echo(rln_conn c, void *arg)
{
	rln_view v;

	(void)arg;
	while (rln_recv(c, &v) > 0)
		if (rln_send(c, v.data, v.len) < 0)
			break;
}

int main(int argc, char **argv)
{
	return rln_serve(argc > 1 ? argv[1] : "127.0.0.1:7878", echo, NULL);
}
