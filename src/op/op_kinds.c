/*
 * What every kind is called, which opcode it uses and how it ends: the X-macro spread into tables.
 */
#include "op/op_kinds.h"
#include "base/assert.h"
#include <liburing.h>

static const struct {
	const char *name;
	unsigned opcode, props;
} op_kinds[OP_KIND_COUNT] = {
#define OP_KIND_ROW(id, name, opcode, props) { name, opcode, props },
	OP_KINDS(OP_KIND_ROW)
#undef OP_KIND_ROW
};

const char *op_kind_name(enum op_kind k)
{
	RLN_ASSERT(k < OP_KIND_COUNT);
	return op_kinds[k].name;
}

unsigned op_kind_opcode(enum op_kind k)
{
	RLN_ASSERT(k < OP_KIND_COUNT);
	return op_kinds[k].opcode;
}

unsigned op_kind_props(enum op_kind k)
{
	RLN_ASSERT(k < OP_KIND_COUNT);
	return op_kinds[k].props;
}
