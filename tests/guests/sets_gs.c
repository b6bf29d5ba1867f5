// build: gcc -O1
// A program that uses gs itself has it for itself.
// hook: others_after
// patched: libc.so.6 400
#include "guest.h"
#include <asm/prctl.h>

static unsigned long own[2] = {0x1234, 0x5678}, other[1] = {0x9abc};
static unsigned long at_gs(void) {
	unsigned long value;
	__asm__ volatile("mov %%gs:0, %0" : "=r"(value));
	return value;
}

int main(void) {
	unsigned long base = 1;
	SAY("%ld %lx\n", syscall(SYS_arch_prctl, ARCH_GET_GS, &base), base);
	SAY("%ld %m\n", syscall(SYS_arch_prctl, ARCH_GET_GS, 8));
	SAY("%ld\n", syscall(SYS_arch_prctl, ARCH_SET_GS, own));
	for (int i = 0; i < 3; i++) SAY("%lx\n", (getppid() > 0) * at_gs());
	SAY("%ld\n", syscall(SYS_arch_prctl, ARCH_GET_GS, &base));
	SAY("%d\n", base == (unsigned long)own);
	unsigned a = 0, b, c = 0, d;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	SAY("%x\n", b);
	pid_t pid = fork();
	if (pid == 0) {
		syscall(SYS_arch_prctl, ARCH_SET_GS, other);
		_exit(at_gs() == 0x9abc ? 3 : 4);
	}
	wait_for("child", pid);
	SAY("%lx\n", at_gs());
	return 0;
}
