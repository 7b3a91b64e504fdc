/*
 * void task_switch(void **save, void *load): a normal call, so the compiler has already spilled what
 * a call may clobber. Leaves by an indirect jump, since a return is predicted to go back to the
 * caller of this side. Where the other side was left by the same call, that is right, and keeps the
 * predictions of all returns to come in step: then it returns. With branch target identification it
 * always returns: the place after a call is no target of jumps.
 */
#if defined(__ARM_FEATURE_BTI_DEFAULT)
#define LEAVE ret
#else
#define LEAVE br x30
#endif

	.text
	.globl	task_switch
	.hidden	task_switch
	.type	task_switch, %function
	.p2align 4
task_switch:
	.cfi_startproc
	hint	#34 /* bti c */
	sub	sp, sp, #160
	.cfi_adjust_cfa_offset 160
	stp	x29, x30, [sp, #0]
	.cfi_rel_offset x29, 0
	.cfi_rel_offset x30, 8
	stp	x19, x20, [sp, #16]
	.cfi_rel_offset x19, 16
	.cfi_rel_offset x20, 24
	stp	x21, x22, [sp, #32]
	.cfi_rel_offset x21, 32
	.cfi_rel_offset x22, 40
	stp	x23, x24, [sp, #48]
	.cfi_rel_offset x23, 48
	.cfi_rel_offset x24, 56
	stp	x25, x26, [sp, #64]
	.cfi_rel_offset x25, 64
	.cfi_rel_offset x26, 72
	stp	x27, x28, [sp, #80]
	.cfi_rel_offset x27, 80
	.cfi_rel_offset x28, 88
	stp	d8, d9, [sp, #96]
	.cfi_rel_offset d8, 96
	.cfi_rel_offset d9, 104
	stp	d10, d11, [sp, #112]
	.cfi_rel_offset d10, 112
	.cfi_rel_offset d11, 120
	stp	d12, d13, [sp, #128]
	.cfi_rel_offset d12, 128
	.cfi_rel_offset d13, 136
	stp	d14, d15, [sp, #144]
	.cfi_rel_offset d14, 144
	.cfi_rel_offset d15, 152
	mov	x9, sp
	mov	x10, x30
	str	x9, [x0]
	mov	sp, x1
	/*
	 * The other stack has the same frame, so the rules above hold on it, too. What is loaded
	 * stays in its slot as well: they remain true until the frame goes.
	 */
	ldp	d14, d15, [sp, #144]
	ldp	d12, d13, [sp, #128]
	ldp	d10, d11, [sp, #112]
	ldp	d8, d9, [sp, #96]
	ldp	x27, x28, [sp, #80]
	ldp	x25, x26, [sp, #64]
	ldp	x23, x24, [sp, #48]
	ldp	x21, x22, [sp, #32]
	ldp	x19, x20, [sp, #16]
	ldp	x29, x30, [sp, #0]
	add	sp, sp, #160
	.cfi_adjust_cfa_offset -160
	.cfi_restore x29
	.cfi_restore x30
	.cfi_restore x19
	.cfi_restore x20
	.cfi_restore x21
	.cfi_restore x22
	.cfi_restore x23
	.cfi_restore x24
	.cfi_restore x25
	.cfi_restore x26
	.cfi_restore x27
	.cfi_restore x28
	.cfi_restore d8
	.cfi_restore d9
	.cfi_restore d10
	.cfi_restore d11
	.cfi_restore d12
	.cfi_restore d13
	.cfi_restore d14
	.cfi_restore d15
	cmp	x30, x10
	b.ne	1f
	ret
1:	LEAVE
	.cfi_endproc
	.size	task_switch, . - task_switch

/* The outermost frame of every task: x29 is 0, and there is nothing to return to. */
	.globl	task_switch_entry
	.hidden	task_switch_entry
	.type	task_switch_entry, %function
	.p2align 4
task_switch_entry:
	.cfi_startproc
	.cfi_undefined x30
	hint	#38 /* bti jc */
	mov	x0, x20
	blr	x19
	brk	#0
	.cfi_endproc
	.size	task_switch_entry, . - task_switch_entry

#if defined(__ARM_FEATURE_BTI_DEFAULT)
/* BTI, and not GCS: a program linked with this file must never get a guarded control stack. */
	.section .note.gnu.property, "a", %note
	.p2align 3
	.word	4
	.word	16
	.word	5
	.asciz	"GNU"
	.word	0xc0000000
	.word	4
	.word	1
	.word	0
#endif

	.section .note.GNU-stack, "", %progbits
