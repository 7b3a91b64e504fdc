/*
 * Marks where there are none, as in every product. That they count where they are, the simulation
 * driver's own test shows.
 */
#undef RLN_MARKS
#define RLN_MARKS 0
#include "base/mark.h"
#include "test.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

TEST(mark_of_a_product_is_nothing)
{
	CHECK_STR(TEXT(RLN_MARK("rare")), "((void)0)");
	RLN_MARK("rare");
}
