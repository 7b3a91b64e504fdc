/*
 * Cells for messages (base/cells.c, rt/post.c) in every interleaving of two that take and the
 * consumer: no cell is out twice, none is taken of a block that is free, none is lost, and the
 * worker's memory outlives whoever is still inside a push.
 *
 * BROKEN: 1  the count stands in the block, not beside its address: who read the address may come late
 *         2  a block is free when all that is out was given back, though it is not used up
 *         3  a taker leaves before it has pushed
 *         4  the end does not wait for takers
 */
#ifndef BROKEN
#define BROKEN 0
#endif
#define TAKES 5 /* one takes a single cell, the other the rest: it may overtake often */
#define SIZE 2	 /* cells a block */
#define BLOCKS 3 /* addresses memory comes from, in any order, again and again */
#define NONE BLOCKS

byte open_block = NONE, open_count = SIZE; /* one word */
byte count[BLOCKS];			   /* BROKEN 1 */
byte spare = NONE;
bit exists[BLOCKS];
byte given[BLOCKS];
bit out[6], pushed[6]; /* [block * SIZE + cell] */
byte came, went, received;
bit gone; /* the worker's memory */

inline got(b, n)
{
	assert(exists[b] && n < SIZE && !out[b * SIZE + n]);
	out[b * SIZE + n] = 1;
	came++ /* in the same word; the code counts some takers sooner */
}

inline block_free(b)
{
	assert(exists[b] && !out[b * SIZE] && !out[b * SIZE + 1]);
	exists[b] = 0
}

/* the exchange, and what it gave back */
inline block_spare(b, old)
{
	atomic { old = spare; spare = b };
	if
	:: old != NONE -> atomic { block_free(old); old = NONE }
	:: else
	fi
}

inline block_new(b)
{
	atomic { b = spare; spare = NONE };
	if
	:: b == NONE ->
		if
		:: atomic { !exists[0] -> b = 0; exists[0] = 1 }
		:: atomic { !exists[1] -> b = 1; exists[1] = 1 }
		:: atomic { !exists[2] -> b = 2; exists[2] = 1 }
		fi
	:: else
	fi;
	given[b] = 0;
	count[b] = 1
}

proctype taker(byte each)
{
	byte i, b, n, mine, old = NONE;

	for (i : 1 .. each) {
		do
		:: atomic { b = open_block; n = open_count };
#if BROKEN == 1
			if
			:: b != NONE -> atomic { n = count[b]; count[b] = (n < SIZE -> n + 1 : n) }
			:: else
			fi;
#endif
			if
			:: n < SIZE ->
#if BROKEN == 1
				atomic { got(b, n); break }
#else
				if
				:: atomic { open_block == b && open_count == n ->
						open_count = n + 1; got(b, n); break }
				:: open_block != b || open_count != n
				fi
#endif
			:: else ->
				block_new(mine);
				if
#if BROKEN == 1
				:: atomic { open_block == b -> open_block = mine;
						b = mine; n = 0; got(b, n); break }
				:: open_block != b -> block_spare(mine, old)
#else
				:: atomic { open_block == b && open_count == n ->
						open_block = mine; open_count = 1;
						b = mine; n = 0; got(b, n); break }
				:: open_block != b || open_count != n -> block_spare(mine, old)
#endif
				fi
			fi
		od;
#if BROKEN == 3
		went++;
#endif
		pushed[b * SIZE + n] = 1;
		assert(!gone); /* looks whether the worker sleeps, and wakes it */
#if BROKEN == 3
		skip
#else
		went++
#endif
	}
}

inline give(b)
{
	given[b]++;
	if
#if BROKEN == 2
	:: given[b] == SIZE || (open_block == b && given[b] == open_count) ->
#else
	:: given[b] == SIZE ->
#endif
		given[b] = 0;
		block_spare(b, old)
	:: else
	fi
}

active proctype consumer()
{
	byte i, old = NONE;

	run taker(TAKES - 1);
	run taker(1);
	do
	:: received < TAKES ->
		if
		:: pushed[0] -> i = 0
		:: pushed[1] -> i = 1
		:: pushed[2] -> i = 2
		:: pushed[3] -> i = 3
		:: pushed[4] -> i = 4
		:: pushed[5] -> i = 5
		fi;
		atomic { pushed[i] = 0; out[i] = 0; received++ };
		give(i / SIZE)
	:: else -> break
	od;
#if BROKEN == 4
	skip;
#else
	came == went;
#endif
	gone = 1;
	/* what exists is the open block and the spare one */
	if
	:: open_block != NONE && open_count < SIZE -> block_free(open_block)
	:: else
	fi;
	if
	:: spare != NONE -> block_free(spare)
	:: else
	fi;
	assert(!exists[0] && !exists[1] && !exists[2])
}
