// build: gcc -O1
// A restorer of the program's own: debuggers and unwinders know it by its bytes.
// site: site_restorer = native -direct -stone -before -live-stone -clobber -evict
// site: site_action = direct,stone,live-stone,before,clobber
#include "guest.h"
#include <execinfo.h>

extern char site_restorer[], site_action[], restorer[];
static int seen;
static void handler(int number) { seen += number; }
struct kernel_action {
	void (*handler)(int);
	unsigned long flags;
	void *restorer;
	unsigned long mask;
};
long action(long number, long signal, const void *now, void *old, long size);
__asm__(".text\n.globl restorer, site_restorer, action, site_action\n nop\n.type restorer, @function\nrestorer: mov $15, %rax\nsite_restorer: syscall\n.size restorer, .-restorer\n nop\n"
	".type action, @function\naction: .cfi_startproc\n mov %rdi, %rax\n mov %rsi, %rdi\n mov %rdx, %rsi\n mov %rcx, %rdx\n mov %r8, %r10\nsite_action: syscall\n test %rax, %rax\n ret\n.cfi_endproc\n.size action, .-action\n");

int main(void) {
	struct kernel_action now = {handler, 0x04000000, restorer, 0};
	SAY("%ld\n", action(SYS_rt_sigaction, SIGUSR1, &now, NULL, 8));
	for (int i = 0; i < 10; i++) kill(getpid(), SIGUSR1);
	SAY("%d\n", seen);
	for (int i = 0; i < 9; i++) SAY("%02x ", ((unsigned char *)restorer)[i]);
	SAY("\n");
	return 0;
}
