// build: gcc -O1
// Numbers that are no system call, and garbage in the half the kernel ignores.
// site: site_number = direct,stone,live-stone,before,clobber +clobber
#include "frame.h"

VARIANT(number, "site_number: syscall\n test %rax, %rax");

int main(void) {
	static const unsigned long numbers[] = {
		-1ul,	    -2ul,	512,	      600,	 1000000,
		0x40000000, 0x40000020, 0x7fffffff,   0x80000000, 0xffffffff,
		32,	    0xdeadbeef00000020, 0x8000000000000020, 0x100000000,
	};
	for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		printf("%lx ", numbers[i]);
		fill(numbers[i], 0x202);
		RUN(number);
	}
	return 0;
}
