// build: gcc -O1
// A `jmp` over no-ops looks like dead padding and is not: tracing tools write a call there later.
// site: site_sled = direct,stone,live-stone,before,clobber
#include "guest.h"

extern char sled[], site_sled[];
long traced(long number, long a);
int calls;
__asm__(".text\n.globl traced, sled, site_sled\n.type traced, @function\n.balign 16\ntraced: .cfi_startproc\n"
	"sled: .byte 0xeb, 0x09\n .byte 0x66, 0x0f, 0x1f, 0x84, 0, 0, 2, 0, 0\n"
	" mov %rdi, %rax\n mov %rsi, %rdi\nsite_sled: syscall\n test %rax, %rax\n ret\n.cfi_endproc\n.size traced, .-traced\n"
	".type trace, @function\ntrace: .cfi_startproc\n incl calls(%rip)\n ret\n.cfi_endproc\n.size trace, .-trace\n");
extern char trace_entry[] __asm__("trace");

int main(void) {
	SAY("%ld\n", traced(32, -1));
	char *page = (char *)((uintptr_t)sled & -4096);
	if (mprotect(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC)) SAY("mprotect: %m\n");
	/* mov $7, %r10d; call trace */
	unsigned char code[11] = {0x41, 0xba, 7, 0, 0, 0, 0xe8};
	int distance = trace_entry - (sled + 11);
	memcpy(code + 7, &distance, 4);
	memcpy(sled, code, sizeof code);
	for (int i = 0; i < 3; i++) SAY("%ld\n", traced(32, -1));
	SAY("calls %d\n", calls);
	return 0;
}
