/*
 * int switch_regs(void **save, void *load, uint64_t seed): task_switch() with every register that
 * the ABI preserves set to seed + its number. Returns the number of the first that came back
 * different, or 0.
 */
	.text
	.globl	switch_regs
	.type	switch_regs, @function
switch_regs:
	.cfi_startproc
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	pushq	%r12
	.cfi_adjust_cfa_offset 8
	pushq	%r13
	.cfi_adjust_cfa_offset 8
	pushq	%r14
	.cfi_adjust_cfa_offset 8
	pushq	%r15
	.cfi_adjust_cfa_offset 8
	pushq	%rdx
	.cfi_adjust_cfa_offset 8
	leaq	1(%rdx), %rbx
	leaq	2(%rdx), %rbp
	leaq	3(%rdx), %r12
	leaq	4(%rdx), %r13
	leaq	5(%rdx), %r14
	leaq	6(%rdx), %r15
	callq	task_switch
	popq	%rdx
	.cfi_adjust_cfa_offset -8
	subq	%rdx, %rbx
	subq	%rdx, %rbp
	subq	%rdx, %r12
	subq	%rdx, %r13
	subq	%rdx, %r14
	subq	%rdx, %r15
	movl	$1, %eax
	cmpq	$1, %rbx
	jne	1f
	movl	$2, %eax
	cmpq	$2, %rbp
	jne	1f
	movl	$3, %eax
	cmpq	$3, %r12
	jne	1f
	movl	$4, %eax
	cmpq	$4, %r13
	jne	1f
	movl	$5, %eax
	cmpq	$5, %r14
	jne	1f
	movl	$6, %eax
	cmpq	$6, %r15
	jne	1f
	xorl	%eax, %eax
1:	popq	%r15
	.cfi_adjust_cfa_offset -8
	popq	%r14
	.cfi_adjust_cfa_offset -8
	popq	%r13
	.cfi_adjust_cfa_offset -8
	popq	%r12
	.cfi_adjust_cfa_offset -8
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	ret
	.cfi_endproc
	.size	switch_regs, . - switch_regs

	.section .note.GNU-stack, "", @progbits
