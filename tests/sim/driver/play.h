/* One schedule: what the programs of play_*.c share. */
#ifndef RINGLINE_TESTS_SIM_PLAY_H
#define RINGLINE_TESTS_SIM_PLAY_H

#define RIG_WORKERS 3
#define RIG_NO_SEED
#include "../runtime_rig.h"
#include "driver.h"
#include "ringline/time.h"

enum { PORT_ECHO = 7, PORT_PATTERN, PORT_NO_READ, PORT_SILENT, PORT_RESET, PORT_NOBODY };

struct lane {
	unsigned posted, run; /* messages from one worker to another */
};

struct alarm {
	rln_timer t;
	int64_t dur, set_ns, counts_ns;
	unsigned again;
	bool armed;
};

#define POURS 8 /* peers that drink, at most: one connection each */

struct pour {
	rln_conn c;
	struct sim_peer *peer; /* NULL: it has left already */
	size_t left, called, accepted;
	bool closed; /* by one of us: nothing is accepted any more */
	bool shared; /* several write: a place that was given out must be sent */
};

struct play {
	struct world *w;
	struct rig rig;
	const struct tweak *tweak;
	bool scarce;	/* allocations fail */
	bool few;	/* hardly any tasks, so that connections wait for one; none to itself */
	bool strict;	/* no connection breaks: every honest peer must end clean */
	bool rude;	/* handlers reset and close at random */
	bool deadlines; /* handlers receive under deadlines */
	bool tight;	/* hardly more slots than clients, and nobody is handed over */
	bool lazy;	/* they take their time before they read */
	bool selects;	/* they wait for several things at once */
	bool hoard;	/* handlers keep received buffers for a while */
	bool storm;	/* connections change their workers all the time */
	bool shut, calm;
	bool done[RIG_WORKERS];
	unsigned workers, outer;
	bool local[RIG_LISTENERS]; /* a unix listener */
	bool local_pour;	   /* the one that pours */
	size_t most;		   /* bytes of a stream, at most */
	unsigned stop_at;	   /* shut down at this turn */
	unsigned calm_turns;
	int64_t stalled_until;
	unsigned stalled;	       /* a worker that takes no turns until then */
	unsigned freezes;	       /* in so many turns, one; 0: none */
	int64_t began[RIG_WORKERS][2]; /* its last two turns */
	struct lane lane[RIG_WORKERS][RIG_WORKERS];
	unsigned opened, closed; /* handlers told of a connection; on_close */
	unsigned tasks, tasks_ended;
	rln_conn seen[RIG_WORKERS]; /* one it has served */
	unsigned go_asked, go_run, gifts;
	unsigned bufs; /* rln_bufs on their way to be released elsewhere */
	unsigned timers, timers_fired;
	bool extra;   /* the last listener pours or declines; its peers are not the others' */
	bool decline; /* or it declines */
	bool late;    /* or answers at the end of its client's stream */
	bool guarded; /* what is poured is guarded memory, all of it */
	struct pour pour[POURS];
	unsigned pours;
	struct sim_peer *drinks[POURS];
	unsigned ndrinks;
	unsigned exchanges;
	struct alarm alarm[RIG_WORKERS];
};
extern struct play play;

#define play_rand(n) world_rand(play.w, (n))
static inline bool play_chance(unsigned one_in)
{
	return world_rand(play.w, one_in) == 0;
}

/* play_server.c: the three modes of an echo server. */
void server_listen(rln_listen_opts *l, unsigned mode);
void server_echo(rln_conn c); /* a task's; c is of nobody's count */
/* play_across.c: what else crosses workers; one such task a run. */
void across_new(void);
void across_start(unsigned worker);
void across_check(void);
/* play_late.c: servers that answer at the end of the stream. */
void late_listen(rln_listen_opts *l);
/* play_door.c: a task that listens. */
void door_start(unsigned worker);
/* play_pour.c: listeners whose peers wait for no answer, these peers, and what they got. */
void pour_listen(rln_listen_opts *l, bool decline);
void pour_peer(struct peer_config *pc);
void pour_check(const struct sim_peer *peer);
/* Start a task that closes c some day; stale: c is closed, and its handle must stay refused. */
void beside(rln_conn c, bool stale);
/* play_client.c: tasks that connect out. */
void clients_start(unsigned worker, unsigned n);
void clients_world(void);
int clients_resolve(struct world *w, const char *host, uint16_t port, struct sockaddr_storage *out,
		    int max);
/* play_talk.c: what workers tell each other; timers. */
void talk_start(unsigned worker);
bool talk_over(void);

/* play_fair.c: tasks of one worker among themselves. */
void friends_start(unsigned worker);

/* play_wrong.c: mistakes on purpose (tweak.wrong). */
void wrong_start(unsigned worker);
bool wrong(enum world_prop p);

/* play_order.c: a send of n bytes was called at that place of the stream to that peer. */
void order_new(void);
void order_call(const struct sim_peer *peer, size_t at, size_t n);
/* See world_config.on_other. */
void order_other(struct world *w, const struct sim_peer *peer, size_t at, const uint8_t *got,
		 size_t n, void *ctx);

/* play_pace.c */
void pace_new(void);
/* After a turn of worker i; asked_for: it was told not to wait. */
void pace_turn(unsigned i, bool asked_for);

/* schedule.c: limits by seed. */
void listen_limits(rln_listen_opts *l);

/* play_check.c */
/* What the world knows of c's socket. */
bool sock_of(rln_conn c, struct world_sock *s);
/* A receive of c ended with n: is that true? */
void check_received(rln_conn c, ssize_t n);
/* After a turn of worker i. */
void check_turn(unsigned i);
/* When everything has stopped. */
void check_end(void);

#endif
