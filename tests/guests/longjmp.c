// build: gcc -O2 -pthread
// hook: hears
// siglongjmp out of a handler that interrupted a blocking read, setjmp in loops, swapcontext.
// patched: libc.so.6 400
#include "guest.h"
#include <ucontext.h>

static sigjmp_buf back;
static void jump(int number) { siglongjmp(back, number); }
static ucontext_t first, second;
static volatile int steps;
static void other(void) {
	for (int i = 0; i < 1000; i++) {
		steps++;
		if (dup(-1) != -1) abort();
		swapcontext(&second, &first);
	}
}
static void switch_in_handler(int number) {
	(void)number;
	swapcontext(&first, &second);
}
static int deep(int n, jmp_buf *out) {
	char byte;
	if (read(-1, &byte, 1) != -1) abort();
	if (n == 0) longjmp(*out, 1);
	return deep(n - 1, out) + byte;
}

int main(void) {
	int fds[2];
	char byte;
	if (pipe(fds)) return 1;
	struct sigaction action = {.sa_handler = jump, .sa_flags = SA_RESTART};
	sigaction(SIGUSR1, &action, NULL);
	volatile int jumps = 0;
	for (volatile int i = 0; i < 200; i++) {
		int got = sigsetjmp(back, 1);
		if (got) {
			jumps += got == SIGUSR1;
			continue;
		}
		interrupt(SIGUSR1, SYS_read);
		long value = read(fds[0], &byte, 1);
		SAY("read came back: %ld\n", value);
	}
	SAY("jumps %d\n", jumps);
	for (volatile int i = 0; i < 1000; i++) {
		jmp_buf out;
		if (!setjmp(out)) deep(20, &out);
	}
	static char stack[65536];
	getcontext(&second);
	second.uc_stack.ss_sp = stack, second.uc_stack.ss_size = sizeof stack;
	second.uc_link = &first;
	makecontext(&second, other, 0);
	for (int i = 0; i < 500; i++) swapcontext(&first, &second);
	SAY("steps %d\n", steps);
	action.sa_handler = switch_in_handler, action.sa_flags = SA_NODEFER;
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 100; i++) raise(SIGUSR1);
	SAY("steps %d\n", steps);
	return 0;
}
