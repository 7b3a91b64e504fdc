/* The four state fields of a connection: every edge that is not drawn is refused, every drawn
 * taken. */
#include "io/conn.h"
#include "test.h"
#include <signal.h>

static struct conn conn;
static unsigned to;

static void set_arm(void)
{
	conn_set_arm(&conn, (enum conn_arm)to);
}

static void set_read(void)
{
	conn_set_read(&conn, (enum conn_read)to, -5);
}

static void set_write(void)
{
	conn_set_write(&conn, (enum conn_write)to, -5);
}

static void set_life(void)
{
	conn_set_life(&conn, (enum conn_life)to);
}

/* drawn: of each state a set of those that may follow. */
static void edges(const char *field, const uint8_t *drawn, unsigned states, void (*set)(void),
		  void (*begin)(unsigned from), unsigned (*now)(void))
{
	char text[64];

	for (unsigned from = 0; from < states; from++) {
		for (to = 0; to < states; to++) {
			begin(from);
			if (drawn[from] >> to & 1) {
				set();
				CHECK_INT(now(), ==, to);
				continue;
			}
			snprintf(text, sizeof text, "connection 0: %s %u -> %u", field, from, to);
			CHECK_DIES(set, SIGABRT, text);
		}
	}
}

#define FIELD(name)                             \
	static void begin_##name(unsigned from) \
	{                                       \
		conn = (struct conn){ 0 };      \
		conn.name = from & 3;           \
	}                                       \
	static unsigned now_##name(void)        \
	{                                       \
		return conn.name;               \
	}
FIELD(arm)
FIELD(read)
FIELD(write)
FIELD(life)

TEST(conn_state_arm_has_its_edges_and_no_others)
{
	static const uint8_t drawn[] = {
		[ARM_IDLE] = 1 << ARM_ARMED | 1 << ARM_PARKED,
		[ARM_ARMED] = 1 << ARM_IDLE | 1 << ARM_CANCELLING,
		[ARM_CANCELLING] = 1 << ARM_IDLE,
		[ARM_PARKED] = 1 << ARM_IDLE,
	};
	edges("arm", drawn, 4, set_arm, begin_arm, now_arm);
}

TEST(conn_state_read_ends_once)
{
	static const uint8_t drawn[] = {
		[READ_OPEN] = 1 << READ_EOF | 1 << READ_ERROR,
		[READ_EOF] = 0,
		[READ_ERROR] = 0,
	};
	edges("read", drawn, 3, set_read, begin_read, now_read);
}

TEST(conn_state_write_breaks_from_anywhere_and_stays_broken)
{
	static const uint8_t drawn[] = {
		[WRITE_OPEN] = 1 << WRITE_FIN_PENDING | 1 << WRITE_SHUT | 1 << WRITE_BROKEN,
		[WRITE_FIN_PENDING] = 1 << WRITE_SHUT | 1 << WRITE_BROKEN,
		[WRITE_SHUT] = 1 << WRITE_BROKEN,
		[WRITE_BROKEN] = 0,
	};
	edges("write", drawn, 4, set_write, begin_write, now_write);
}

TEST(conn_state_life_goes_round_once)
{
	static const uint8_t drawn[] = {
		[LIFE_CLOSED] = 1 << LIFE_OPENING,
		[LIFE_OPENING] = 1 << LIFE_OPEN | 1 << LIFE_CLOSING,
		[LIFE_OPEN] = 1 << LIFE_CLOSING,
		[LIFE_CLOSING] = 1 << LIFE_CLOSED,
	};
	edges("life", drawn, 4, set_life, begin_life, now_life);
}
