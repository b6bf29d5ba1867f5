/* A handler waits on the thread's own stack while somebody attaches. What it returns to has to be an alternate stack as the
 * library registers it: disarmed when a handler begins there. This program's own calls are not patched, so it sees that. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static char alternate[64 << 10];

static void waits(int signal) {
	char byte;
	(void)signal;
	puts("ready");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
}

int main(void) {
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate}, now = {0};
	struct sigaction action = {.sa_handler = waits};
	sigaltstack(&stack, 0);
	sigaction(SIGUSR1, &action, 0);
	raise(SIGUSR1);
	register long result __asm__("rax") = 131; /* sigaltstack */
	register void *none __asm__("rdi") = 0;
	register void *old __asm__("rsi") = &now;
	__asm__ volatile("syscall" : "+r"(result) : "r"(none), "r"(old) : "rcx", "r11", "memory");
	printf("%ld %d %x\n", result, now.ss_sp == alternate && now.ss_size == sizeof alternate, now.ss_flags);
	return 0;
}
