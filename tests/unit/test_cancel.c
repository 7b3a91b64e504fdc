/*
 * tests/cancel_table.def, row by row: every function that waits, cancelled in every way. One test a
 * row; a failure names the column.
 */
#include "task/internal.h"

#include "cancel_scenes.h"
#include "cancel_scenes_conn.h"

#define CANCEL_ROW(function, pending, waiting, success, shielded, deadline, closed, shutdown) \
	TEST(cancel_##function)                                                               \
	{                                                                                     \
		static const int value[] = { pending,  waiting, success, shielded,            \
					     deadline, closed,	shutdown };                   \
		for (int c = PENDING; c <= SHUTDOWN; c++)                                     \
			run_column(&scene_##function, (enum column)c, value[c]);              \
	}
#define CANCEL_TESTED(function, ...)
#define CANCEL_NO_POINT(function, ...)

#include "../cancel_table.def"
