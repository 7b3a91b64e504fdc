/*
 * The one thread-local of the library: who runs on this thread. See ctx.h.
 */
#include "base/ctx.h"

_Thread_local struct ctx *ctx_current_;
