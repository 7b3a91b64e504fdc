/*
 * How a refusal reads: one line with what failed, the cause this machine shows, and the remedy.
 * Runs when something has already failed, at start-up: reads files under /proc, allocates nothing.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "base/sys.h"
#include "ring/caps.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAP_IPC_LOCK_BIT 14
#define CAP_SYS_ADMIN_BIT 21

int diag_set(struct diag *d, int err, const char *fmt, ...)
{
	va_list ap;

	if (!d)
		return err;
	d->err = err;
	va_start(ap, fmt);
	vsnprintf(d->line, sizeof d->line, fmt, ap);
	va_end(ap);
	/* What it quotes may be anything: it stays one line, and steers no terminal. */
	for (char *p = d->line; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return err;
}

/* The text after "name:" (or a limit's name) in a proc file; *text is where it was read to. */
static const char *proc_field(char *text, size_t cap, const char *path, const char *name)
{
	const char *at;

	if (sys_read_file(path, text, cap) <= 0)
		return NULL;
	at = strstr(text, name);
	return at ? at + strlen(name) : NULL;
}

static bool seccomp_filters(void)
{
	char text[4096];
	const char *v = proc_field(text, sizeof text, "/proc/self/status", "\nSeccomp:");

	return v && atoi(v) == 2;
}

static bool has_capability(unsigned bit)
{
	char text[4096];
	const char *v = proc_field(text, sizeof text, "/proc/self/status", "\nCapEff:");

	return v && (strtoull(v, NULL, 16) >> bit & 1);
}

/* The soft limit of a line of /proc/self/limits; UINT64_MAX: unlimited or unknown. */
static uint64_t soft_limit(const char *name)
{
	char text[4096], *end;
	const char *v = proc_field(text, sizeof text, "/proc/self/limits", name);
	uint64_t limit;

	if (!v)
		return UINT64_MAX;
	limit = strtoull(v, &end, 10);
	return end == v ? UINT64_MAX : limit;
}

static int sysctl_disabled(void)
{
	char text[16];

	return sys_read_file("/proc/sys/kernel/io_uring_disabled", text, sizeof text) > 0
		       ? atoi(text)
		       : 0;
}

#define SECCOMP_REMEDY                                                                            \
	"a seccomp filter forbids it (Seccomp: 2 in /proc/self/status), as container profiles "   \
	"do; "                                                                                    \
	"allow io_uring_setup, io_uring_enter and io_uring_register in the profile, or run with " \
	"seccomp=unconfined"

static const char *cause_enosys(void)
{
	if (seccomp_filters())
		return SECCOMP_REMEDY;
	return "this kernel has no io_uring (older than 5.1, or built without CONFIG_IO_URING); "
	       "run Linux 6.1 or newer";
}

static const char *cause_eperm(void)
{
	int disabled = sysctl_disabled();

	if (disabled >= 2)
		return "kernel.io_uring_disabled is 2, which forbids io_uring to everybody; run "
		       "sysctl kernel.io_uring_disabled=0";
	if (disabled == 1 && !has_capability(CAP_SYS_ADMIN_BIT))
		return "kernel.io_uring_disabled is 1, which allows io_uring to CAP_SYS_ADMIN and "
		       "the group kernel.io_uring_group only; join that group, or run sysctl "
		       "kernel.io_uring_disabled=0";
	if (seccomp_filters())
		return SECCOMP_REMEDY;
	return "a security policy forbids io_uring to this process; ask who administers the "
	       "machine, or run outside of the sandbox";
}

static const char *cause_eacces(void)
{
	if (seccomp_filters())
		return SECCOMP_REMEDY;
	return "a security module (SELinux, AppArmor) or the ring's own restrictions forbid it; "
	       "see the kernel's audit log and allow io_uring for this program";
}

static int diag_enomem(struct diag *d, int err, const char *what, uint64_t need_bytes)
{
	uint64_t have = soft_limit("\nMax locked memory");
	char need[64] = "";

	if (have == UINT64_MAX || has_capability(CAP_IPC_LOCK_BIT))
		return diag_set(d, err,
				"%s: ENOMEM: the kernel is out of memory; free some, or ask for "
				"smaller rings and buffers",
				what);
	if (need_bytes)
		snprintf(need, sizeof need, ", this needs %" PRIu64 " KiB",
			 (need_bytes + 1023) / 1024);
	return diag_set(d, err,
			"%s: ENOMEM: the limit of locked memory (memlock) is %" PRIu64 " KiB for "
			"all processes of this user%s; raise it (ulimit -l, LimitMEMLOCK=, or "
			"/etc/security/limits.conf) or ask for smaller rings and buffers",
			what, have / 1024, need);
}

static int diag_emfile(struct diag *d, int err, const char *what, uint64_t need_files)
{
	uint64_t have = soft_limit("\nMax open files");
	char need[64] = "";

	if (need_files)
		snprintf(need, sizeof need, ", this needs %" PRIu64, need_files);
	return diag_set(d, err,
			"%s: EMFILE: the limit of open files (nofile) is %" PRIu64 "%s; raise it "
			"(ulimit -n, LimitNOFILE=) or ask for fewer connections",
			what, have, need);
}

static const char *cause_other(int err)
{
	switch (-err) {
	case EINVAL:
		return "EINVAL: this kernel does not know it, or not these arguments; run Linux "
		       "6.1 "
		       "or newer";
	case ENFILE:
		return "ENFILE: the machine's table of open files is full; raise sysctl "
		       "fs.file-max";
	case EEXIST:
		return "EEXIST: registered already, or called from a thread that does not own the "
		       "ring";
	case EBADFD:
		return "EBADFD: the ring is not in the state for it (enable it first, on the "
		       "thread "
		       "that submits)";
	case EBUSY:
		return "EBUSY: registered already";
	case EFAULT:
		return "EFAULT: the memory is not mapped, or not writable";
	case EOPNOTSUPP:
		return "EOPNOTSUPP: this kernel cannot do it; run Linux 6.1 or newer";
	default:
		return NULL;
	}
}

int diag_ring(struct diag *d, int err, const char *what, uint64_t need_bytes, uint64_t need_files)
{
	const char *cause;

	if (!d)
		return err;
	switch (-err) {
	case ENOSYS:
		return diag_set(d, err, "%s: ENOSYS: %s", what, cause_enosys());
	case EPERM:
		return diag_set(d, err, "%s: EPERM: %s", what, cause_eperm());
	case EACCES:
		return diag_set(d, err, "%s: EACCES: %s", what, cause_eacces());
	case ENOMEM:
		return diag_enomem(d, err, what, need_bytes);
	case EMFILE:
		return diag_emfile(d, err, what, need_files);
	}
	cause = cause_other(err);
	if (!cause)
		cause = strerrordesc_np(-err);
	return diag_set(d, err, "%s: %s", what, cause ? cause : "unknown error");
}
