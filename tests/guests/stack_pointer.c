// build: gcc -O1
// hook: answer
// hook: answer_arguments
// hook: answer_reads
// hook: change
// hook: renumber
// hook: change answer
// A system call needs no stack: rsp may be 0, misaligned, or no address at all.
// site: site_stackless = stone,before,live-stone,clobber,direct +clobber
#include "frame.h"

unsigned long stack;
VARIANT(stackless, "mov stack(%rip), %rsp\n mov $32, %eax\n site_stackless: syscall\n mov %rax, %rax");

int main(void) {
	char *top = __builtin_frame_address(0);
	unsigned long stacks[] = {0, 1, 8, -8ul, 0x8000000000000000, 0xdeadbeefdeadbeef, 4096};
	for (unsigned i = 0; i < sizeof stacks / sizeof *stacks; i++) {
		fill(32, 0x202);
		stack = stacks[i];
		stackless();
		printf("%lx: rsp %s, ", stack, out.r[RSP] == stack ? "kept" : "changed");
		saved_rsp = out.r[RSP];
		show("stackless", SITE_OF(stackless));
	}
	for (int off = 1; off < 8; off++) {
		fill(32, 0x202);
		stack = (unsigned long)top - 4096 - off;
		stackless();
		printf("misaligned %d: rsp %s, ", off, out.r[RSP] == stack ? "kept" : "changed");
		saved_rsp = out.r[RSP];
		show("stackless", SITE_OF(stackless));
	}
	return 0;
}
