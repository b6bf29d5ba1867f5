// build: gcc -O1
// Every register, the flags, the red zone and rcx after a system call, for each shape of site.
// site: site_direct = direct +direct +stone
// site: site_before = stone,before,live-stone +before
// site: site_after = stone,clobber,live-stone +clobber
#include "frame.h"

VARIANT(direct, "site_direct: syscall\n .byte 0x0f,0x1f,0x44,0x00,0x00");
VARIANT(before, "mov $32, %eax\n site_before: syscall\n cmp $-4095, %rax");
VARIANT(after, "xchg %rax, %r12\n xchg %rax, %r12\n site_after: syscall\n test %rax, %rax");

int main(void) {
	/* carry, parity, auxiliary, zero, sign, overflow; direction; alignment check; identification */
	static const unsigned long flags[] = {0x202,   0x203,   0x206,	 0x212,	  0x242,   0x282,
					      0xa02,   0xad7,   0x602,	 0xed7,	  0x40202, 0x200202,
					      0x40602, 0x240ed7};
	for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
		printf("flags %lx\n", flags[i]);
		fill(32, flags[i]);
		RUN(direct);
		fill(32, flags[i]);
		RUN(before);
		fill(32, flags[i]);
		RUN(after);
	}
	return 0;
}
