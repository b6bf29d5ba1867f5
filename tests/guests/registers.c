// build: gcc -O1
// hook: answer
// hook: answer_arguments
// hook: answer_reads
// hook: change
// hook: renumber
// hook: change answer
// Every register, the flags, the red zone and rcx after a system call, for each shape of site.
// site: site_direct = direct +direct +clobber
// site: site_padded = stone +stone +clobber -direct
// site: site_live = live-stone,stone,before +before +clobber -direct
// site: site_before = before +before +clobber -direct
// site: site_after = clobber,evict +clobber -direct -before
#include "frame.h"

VARIANT(direct, "site_direct: syscall\n .byte 0x0f,0x1f,0x44,0x00,0x00");
VARIANT(padded, "jmp outside\n back:\n"
	".pushsection .text, 1\n.p2align 5\n.type outside, @function\noutside: .cfi_startproc\n"
	" xchg %rax, %r12\n xchg %rax, %r12\n site_padded: syscall\n xchg %rax, %r12\n xchg %rax, %r12\n jmp back\n.cfi_endproc\n.size outside, .-outside\n.p2align 5\n"
	".type beyond, @function\nbeyond: .cfi_startproc\n ret\n.cfi_endproc\n.size beyond, .-beyond\n.popsection\n");
VARIANT(live, "mov $32, %eax\n site_live: syscall\n xchg %rax, %r12\n xchg %rax, %r12\n .byte 0x66,0x2e,0x0f,0x1f,0x84,0,0,0,0,0\n");
VARIANT(before, "mov $32, %eax\n site_before: syscall\n cmp $-4095, %rax");
VARIANT(after, "xchg %rax, %r12\n xchg %rax, %r12\n site_after: syscall\n test %rax, %rax");

int main(void) {
	/* carry, parity, auxiliary, zero, sign, overflow; direction; alignment check; identification; nested task */
	static const unsigned long flags[] = {0x202,   0x203,   0x206,	 0x212,	  0x242,   0x282,
					      0xa02,   0xad7,   0x602,	 0xed7,	  0x40202, 0x200202,
					      0x40602, 0x240ed7, 0x4202, 0x46ed7};
	for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
		printf("flags %lx\n", flags[i]);
		fill(32, flags[i]);
		RUN(direct);
		fill(32, flags[i]);
		RUN(padded);
		fill(32, flags[i]);
		RUN(live);
		fill(32, flags[i]);
		RUN(before);
		fill(32, flags[i]);
		RUN(after);
	}
	return 0;
}
