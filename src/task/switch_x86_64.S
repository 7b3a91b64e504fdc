/*
 * void task_switch(void **save, void *load): a normal call, so the compiler has already spilled what
 * a call may clobber. Leaves by an indirect jump, since a return is predicted to go back to the
 * caller of this side. Where the other side was left by the same call, that is right, and keeps the
 * predictions of all returns to come in step: then it returns. PERF: a yield costs 9 ns instead of
 * 15 (AMD Genoa, two tasks).
 */
	.text
	.globl	task_switch
	.hidden	task_switch
	.type	task_switch, @function
	.p2align 4
task_switch:
	.cfi_startproc
	endbr64
	movq	(%rsp), %rdx
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rbp, 0
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rbx, 0
	pushq	%r12
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r12, 0
	pushq	%r13
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r13, 0
	pushq	%r14
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r14, 0
	pushq	%r15
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %r15, 0
	movq	%rsp, (%rdi)
	movq	%rsi, %rsp
	/* The other stack has the same frame, so the rules above hold on it, too. */
	popq	%r15
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r15
	popq	%r14
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r14
	popq	%r13
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r13
	popq	%r12
	.cfi_adjust_cfa_offset -8
	.cfi_restore %r12
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore %rbx
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore %rbp
	cmpq	%rdx, (%rsp)
	jne	1f
	ret
1:	popq	%rcx
	.cfi_adjust_cfa_offset -8
	.cfi_register %rip, %rcx
	/* Return addresses carry no endbr64. */
	notrack jmpq *%rcx
	.cfi_endproc
	.size	task_switch, . - task_switch

/* The outermost frame of every task: rbp is 0, and there is nothing to return to. */
	.globl	task_switch_entry
	.hidden	task_switch_entry
	.type	task_switch_entry, @function
	.p2align 4
task_switch_entry:
	.cfi_startproc
	.cfi_undefined %rip
	endbr64
	movq	%rbx, %rdi
	callq	*%r12
	ud2
	.cfi_endproc
	.size	task_switch_entry, . - task_switch_entry

/* IBT, and not SHSTK: a program linked with this file must never get a shadow stack. */
	.section .note.gnu.property, "a", @note
	.p2align 3
	.long	4
	.long	16
	.long	5
	.asciz	"GNU"
	.long	0xc0000002
	.long	4
	.long	1
	.long	0

	.section .note.GNU-stack, "", @progbits
