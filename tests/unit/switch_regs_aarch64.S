/*
 * int switch_regs(void **save, void *load, uint64_t seed): task_switch() with every register that
 * the ABI preserves set to seed + its number, x19 to x29 and d8 to d15. Returns the number of the
 * first that came back different (d8: 108), or 0.
 */
	.text
	.globl	switch_regs
	.type	switch_regs, %function
switch_regs:
	.cfi_startproc
	hint	#34 /* bti c */
	sub	sp, sp, #176
	.cfi_adjust_cfa_offset 176
	stp	x29, x30, [sp, #0]
	.cfi_rel_offset x29, 0
	.cfi_rel_offset x30, 8
	stp	x19, x20, [sp, #16]
	stp	x21, x22, [sp, #32]
	stp	x23, x24, [sp, #48]
	stp	x25, x26, [sp, #64]
	stp	x27, x28, [sp, #80]
	stp	d8, d9, [sp, #96]
	stp	d10, d11, [sp, #112]
	stp	d12, d13, [sp, #128]
	stp	d14, d15, [sp, #144]
	str	x2, [sp, #160]
	add	x19, x2, #19
	add	x20, x2, #20
	add	x21, x2, #21
	add	x22, x2, #22
	add	x23, x2, #23
	add	x24, x2, #24
	add	x25, x2, #25
	add	x26, x2, #26
	add	x27, x2, #27
	add	x28, x2, #28
	add	x29, x2, #29
	add	x3, x2, #108
	fmov	d8, x3
	add	x3, x2, #109
	fmov	d9, x3
	add	x3, x2, #110
	fmov	d10, x3
	add	x3, x2, #111
	fmov	d11, x3
	add	x3, x2, #112
	fmov	d12, x3
	add	x3, x2, #113
	fmov	d13, x3
	add	x3, x2, #114
	fmov	d14, x3
	add	x3, x2, #115
	fmov	d15, x3
	bl	task_switch
	ldr	x2, [sp, #160]
	mov	w0, #19
	add	x3, x2, #19
	cmp	x3, x19
	b.ne	1f
	mov	w0, #20
	add	x3, x2, #20
	cmp	x3, x20
	b.ne	1f
	mov	w0, #21
	add	x3, x2, #21
	cmp	x3, x21
	b.ne	1f
	mov	w0, #22
	add	x3, x2, #22
	cmp	x3, x22
	b.ne	1f
	mov	w0, #23
	add	x3, x2, #23
	cmp	x3, x23
	b.ne	1f
	mov	w0, #24
	add	x3, x2, #24
	cmp	x3, x24
	b.ne	1f
	mov	w0, #25
	add	x3, x2, #25
	cmp	x3, x25
	b.ne	1f
	mov	w0, #26
	add	x3, x2, #26
	cmp	x3, x26
	b.ne	1f
	mov	w0, #27
	add	x3, x2, #27
	cmp	x3, x27
	b.ne	1f
	mov	w0, #28
	add	x3, x2, #28
	cmp	x3, x28
	b.ne	1f
	mov	w0, #29
	add	x3, x2, #29
	cmp	x3, x29
	b.ne	1f
	mov	w0, #108
	add	x3, x2, #108
	fmov	x4, d8
	cmp	x3, x4
	b.ne	1f
	mov	w0, #109
	add	x3, x2, #109
	fmov	x4, d9
	cmp	x3, x4
	b.ne	1f
	mov	w0, #110
	add	x3, x2, #110
	fmov	x4, d10
	cmp	x3, x4
	b.ne	1f
	mov	w0, #111
	add	x3, x2, #111
	fmov	x4, d11
	cmp	x3, x4
	b.ne	1f
	mov	w0, #112
	add	x3, x2, #112
	fmov	x4, d12
	cmp	x3, x4
	b.ne	1f
	mov	w0, #113
	add	x3, x2, #113
	fmov	x4, d13
	cmp	x3, x4
	b.ne	1f
	mov	w0, #114
	add	x3, x2, #114
	fmov	x4, d14
	cmp	x3, x4
	b.ne	1f
	mov	w0, #115
	add	x3, x2, #115
	fmov	x4, d15
	cmp	x3, x4
	b.ne	1f
	mov	w0, #0
1:	ldp	x29, x30, [sp, #0]
	ldp	x19, x20, [sp, #16]
	ldp	x21, x22, [sp, #32]
	ldp	x23, x24, [sp, #48]
	ldp	x25, x26, [sp, #64]
	ldp	x27, x28, [sp, #80]
	ldp	d8, d9, [sp, #96]
	ldp	d10, d11, [sp, #112]
	ldp	d12, d13, [sp, #128]
	ldp	d14, d15, [sp, #144]
	add	sp, sp, #176
	.cfi_adjust_cfa_offset -176
	.cfi_restore x29
	.cfi_restore x30
	ret
	.cfi_endproc
	.size	switch_regs, . - switch_regs

	.section .note.GNU-stack, "", %progbits
