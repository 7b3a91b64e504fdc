/*
 * An echo server on libevent's bufferevents, as its users write it: what has been read is moved to
 * the output, without a copy.
 * usage: libevent_echo [PORT]
 */
#include "peer.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/tcp.h>
#include <signal.h>

static void on_read(struct bufferevent *b, void *arg)
{
	(void)arg;
	bufferevent_write_buffer(b, bufferevent_get_input(b));
}

static void on_event(struct bufferevent *b, short events, void *arg)
{
	(void)arg;
	if (events & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		bufferevent_free(b);
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa,
			  int n, void *base)
{
	struct bufferevent *b = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	int one = 1;

	(void)listener, (void)sa, (void)n;
	if (!b) {
		evutil_closesocket(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	bufferevent_setcb(b, on_read, NULL, on_event, NULL);
	bufferevent_enable(b, EV_READ | EV_WRITE);
}

static void on_term(evutil_socket_t signo, short events, void *base)
{
	(void)signo, (void)events;
	event_base_loopbreak(base);
}

static void on_usr1(evutil_socket_t signo, short events, void *arg)
{
	(void)signo, (void)events, (void)arg;
	peer_say_syscalls();
}

int main(int argc, char **argv)
{
	struct event_base *base = event_base_new();
	struct sockaddr_in in = peer_address(argc, argv);
	struct evconnlistener *listener;
	socklen_t n = sizeof in;

	signal(SIGPIPE, SIG_IGN);
	peer_need(base != NULL, "event_base_new", "no memory");
	listener = evconnlistener_new_bind(base, on_connection, base,
					   LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, PEER_BACKLOG,
					   (struct sockaddr *)&in, sizeof in);
	peer_need(listener != NULL, "listen", strerror(errno));
	getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&in, &n);
	evsignal_add(evsignal_new(base, SIGTERM, on_term, base), NULL);
	evsignal_add(evsignal_new(base, SIGUSR1, on_usr1, NULL), NULL);
	peer_listening(&in);
	event_base_dispatch(base);
	evconnlistener_free(listener);
	event_base_free(base);
	return 0;
}
