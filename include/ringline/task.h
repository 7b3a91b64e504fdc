/*
 * Tasks, and the scopes that bound and cancel what they wait for.
 */
#ifndef RINGLINE_TASK_H
#define RINGLINE_TASK_H

#include <ringline/base.h>
#include <ringline/time.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rln_scope {
	uint64_t priv_[16];
} rln_scope;

RLN_API void rln_scope_begin(rln_scope *s, rln_ns timeout);
RLN_API void rln_scope_shield(rln_scope *s, rln_ns grace);
RLN_API int rln_scope_end(rln_scope *s);
RLN_API void rln_scope_extend(rln_scope *s, rln_ns timeout);
RLN_API void rln_scope_cancel(rln_scope *s);
RLN_API void rln_scope_cleanup_(rln_scope *s);

#define RLN_DEADLINE(name, ns)                        \
	rln_scope name RLN_CLEAN(rln_scope_cleanup_); \
	rln_scope_begin(&name, (ns))
#define RLN_SHIELD(name, ns)                          \
	rln_scope name RLN_CLEAN(rln_scope_cleanup_); \
	rln_scope_shield(&name, (ns))
#define RLN_WITHIN(ns, ...) RLN_WITHIN_(__COUNTER__, ns, (__VA_ARGS__))
#define RLN_WITHIN_(id, ns, call) RLN_WITHIN_ID_(id, ns, call)
#define RLN_WITHIN_ID_(id, ns, call)                  \
	__extension__({                               \
		rln_scope rln_s##id##_;               \
		rln_scope_begin(&rln_s##id##_, (ns)); \
		__typeof__(call) rln_r##id##_ = call; \
		(void)rln_scope_end(&rln_s##id##_);   \
		rln_r##id##_;                         \
	})

RLN_API int rln_checkpoint(void) RLN_WAITS;
RLN_API int rln_yield(void) RLN_WAITS;
RLN_API bool rln_cancelled(void);

typedef struct rln_task_opts {
	const char *name;
	size_t stack_size;
	const void *copy;
	size_t copy_size;
} rln_task_opts;

RLN_API int rln_go_at(int (*fn)(void *arg), void *arg, const rln_task_opts *o, size_t opts_size,
		      const char *file, int line);
RLN_API int rln_go_on_at(rln_runtime *rt, unsigned worker, int (*fn)(void *arg), void *arg,
			 const rln_task_opts *o, size_t opts_size, const char *file, int line);
RLN_API RLN_MUST int rln_spawn_at(int (*fn)(void *arg), void *arg, const rln_task_opts *o,
				  rln_task *out, size_t opts_size, const char *file, int line);
/* Variadic, so that a compound literal's commas pass through. */
#define rln_go(...) rln_go_at(__VA_ARGS__, sizeof(rln_task_opts), __FILE__, __LINE__)
#define rln_go_on(...) rln_go_on_at(__VA_ARGS__, sizeof(rln_task_opts), __FILE__, __LINE__)
#define rln_spawn(...) rln_spawn_at(__VA_ARGS__, sizeof(rln_task_opts), __FILE__, __LINE__)

RLN_API int rln_join(rln_task t, int *result) RLN_WAITS;
RLN_API int rln_cancel(rln_task t);
RLN_API rln_task rln_self(void);

#ifdef __cplusplus
}
#endif
#endif
