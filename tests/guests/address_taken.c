// build: gcc -O2 -pthread
// Code that decides by the interrupted address whether its call was made, as musl and glibc 2.41 do: stays native
// where handlers see addresses of ours.
// site: site_decides = direct,stone,live-stone,before,clobber,evict -direct -stone -before -live-stone -clobber -evict
// patched: libc.so.6 400
#include "guest.h"
#include <ucontext.h>

extern char decide_begin[], decide_end[], decide_cancel[], site_decides[];
long decide(volatile int *cancel, long number, long a, long b, long c);
__asm__(".text\n.globl decide, decide_begin, decide_end, decide_cancel, site_decides\n.type decide, @function\n"
	"decide: .cfi_startproc\n mov %rsi, %rax\n mov %rdi, %r11\n mov %rdx, %rdi\n mov %rcx, %rsi\n mov %r8, %rdx\n"
	"decide_begin: cmpl $0, (%r11)\n jne decide_cancel\nsite_decides: syscall\ndecide_end: ret\n"
	"decide_cancel: mov $-125, %rax\n ret\n.cfi_endproc\n.size decide, .-decide\n");
static volatile int cancel;
static int inside;
static void handler(int number, siginfo_t *info, void *context) {
	(void)number, (void)info;
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	cancel = 1;
	if (r[REG_RIP] >= (long)decide_begin && r[REG_RIP] < (long)decide_end) {
		inside++;
		r[REG_RIP] = (long)decide_cancel;
	}
}

int main(void) {
	int fds[2];
	char byte;
	if (pipe(fds)) return 1;
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 5; i++) {
		cancel = 0;
		interrupt(SIGUSR1, SYS_read);
		long value = decide(&cancel, SYS_read, fds[0], (long)&byte, 1);
		SAY("%ld, inside %d\n", value, inside);
	}
	return 0;
}
