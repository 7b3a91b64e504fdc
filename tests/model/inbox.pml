/*
 * The wake protocol between threads (base/mpsc.c, loop/inbox.c: INV-31), in every interleaving of
 * two that push, one that wakes, and the loop. Each line of a process is one sequentially consistent
 * step, as each access in the code is. A push is its one compare-exchange.
 *
 * Proved: the loop gets every message and sees the shutdown (a wake that is lost leaves it asleep:
 * an invalid end state), and nobody writes the eventfd more often than the loop announced a sleep.
 *
 * BROKEN selects a mistake, each of which must be found:
 *   1  the loop looks for messages before it announces its sleep
 *   2  who finds the announcement does not take it down
 *   3  a wake without a message leaves nothing behind for a loop that is awake
 *   4  the loop forgets to look for a wake without a message before it sleeps
 *   5  who pushes looks for the announcement first
 */
#ifndef BROKEN
#define BROKEN 0
#endif
#define PUSHERS 2
#define EACH 2

byte queued;		/* messages in the queue */
bit sleeping;		/* the announcement */
bit poked;
bit shutdown;
byte eventfd;		/* its count; the loop's read op is always armed */
byte writes, announced; /* in all */

inline look_and_wake(found)
{
#if BROKEN == 2
	found = sleeping;
#else
	found = sleeping;
	if
	:: found -> atomic { found = sleeping; sleeping = 0 } /* the exchange */
	:: else
	fi;
#endif
	if
	:: found -> atomic {
			eventfd++;
			writes++;
			assert(writes <= announced) /* one write a sleep */
		}
	:: else
	fi
}

proctype pusher()
{
	bit found;
	byte i;

	for (i : 1 .. EACH) {
#if BROKEN == 5
		look_and_wake(found);
		queued++
#else
		queued++;
		look_and_wake(found)
#endif
	}
}

proctype waker()
{
	bit found;

	shutdown = 1;
#if BROKEN != 3
	poked = 1;
#endif
	look_and_wake(found)
}

inline awake()
{
	sleeping = 0;
	poked = 0
}

/* inbox_sleep(), the wait, inbox_awake() */
inline sleep()
{
#if BROKEN == 1
	if
	:: queued == 0 -> atomic { sleeping = 1; announced++ }; may = 1
	:: else -> may = 0
	fi;
#else
	atomic { sleeping = 1; announced++ };
	may = (queued == 0);
#endif
	if
	:: !may -> sleeping = 0
	:: else ->
#if BROKEN != 4
		if
		:: poked -> may = 0; awake()
		:: else
		fi
#endif
	fi;
	if
	:: may ->
		atomic { eventfd > 0 -> eventfd = 0 }; /* the wait ends with the read's completion */
		awake()
	:: else
	fi
}

active proctype loop()
{
	byte got;
	bit may;

	atomic {
		run pusher();
		run pusher();
		run waker()
	}
	do
	:: got == PUSHERS * EACH && shutdown -> break
	:: else ->
		atomic { got = got + queued; queued = 0 }; /* inbox_drain(): one exchange */
		if
		:: got == PUSHERS * EACH && shutdown -> skip
		:: else -> sleep()
		fi
	od
}
