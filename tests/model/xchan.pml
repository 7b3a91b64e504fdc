/*
 * The channel between threads (task/xchan.c) in every interleaving of two senders, one that closes
 * and a receiver that may give up waiting: nothing accepted is lost, the receiver never sleeps with
 * something to receive, and the channel's one message is never sent while it is under way.
 *
 * BROKEN: 1  the receiver does not look again after its announcement
 *         2  a receiver that gives up does not take its announcement down, and forgets it
 *         3  the closed flag stands beside the tail, not in it
 */
#ifndef BROKEN
#define BROKEN 0
#endif
#define SENDERS 2
#define EACH 2

byte claimed;	 /* tail */
byte filled;	 /* cells filled, of those claimed: senders here fill in any order */
byte received;	 /* head */
bit closed;	 /* in tail: tested in the claim's own step */
bit asleep;	 /* the announcement */
bit message;	 /* under way to the worker */
byte accepted;

inline wake_receiver(found)
{
	found = asleep;
	if
	:: found -> atomic { found = asleep; asleep = 0 }
	:: else
	fi;
	if
	:: found -> atomic { assert(!message); message = 1 }
	:: else
	fi
}

proctype sender()
{
	bit found, is_closed;
	byte i;

	for (i : 1 .. EACH) {
#if BROKEN == 3
		is_closed = closed;
		if
		:: !is_closed -> atomic { claimed++; accepted++ }
		:: else
		fi;
#else
		atomic {
			is_closed = closed;
			if
			:: !is_closed -> claimed++; accepted++
			:: else
			fi
		};
#endif
		if
		:: !is_closed ->
			filled++;
			wake_receiver(found)
		:: else -> break
		fi
	}
}

proctype closer()
{
	bit found;

	closed = 1;
	wake_receiver(found)
}

/* take() and drained(): what the receiver can see. */
#define something (filled > received)
#define drained (closed && claimed == received)

active proctype receiver()
{
	bit due, found, gave_up;
	byte i;

	atomic {
		for (i : 1 .. SENDERS) {
			run sender()
		}
		run closer()
	}

	do
	:: message -> /* the worker runs it */
		atomic { message = 0; due = 0 }
	:: something ->
		received++
	:: !something ->
		/* once it has seen that nothing is there, is everything over? */
		if
		:: drained -> break
		:: else ->
			if
			:: !due ->
				due = 1;
				asleep = 1;
#if BROKEN != 1
				if
				:: something || drained -> goto withdraw
				:: else
				fi
#endif
			:: else
			fi;
			/* parked: the message ends it, or a cancellation, once */
			if
			:: message -> goto next
			:: !gave_up -> gave_up = 1
			fi;
withdraw:
#if BROKEN == 2
			due = 0;
#else
			atomic { found = asleep; asleep = 0 };
			if
			:: found -> due = 0
			:: else /* a sender was faster: its message comes */
			fi;
#endif
next:			skip
		fi
	od;
	/* what is still due comes before the worker ends */
	atomic { found = asleep; asleep = 0 };
	if
	:: found -> due = 0
	:: else
	fi;
	if
	:: due -> message -> message = 0
	:: else
	fi;
	assert(claimed == received && accepted == received)
}
