// build: gcc -O1 -mno-sse
// A hook that calls the program, whose calls are then made as if nothing were hooked: it does not call itself.
// hook: nested
// hook: run nested after
// patched: libc.so.6 400
#include "guest.h"

static volatile int ran, signals;
static long inner(void) {
	long parent = getppid();
	ran++;
	for (int i = 0; i < 100; i++) parent = getppid();
	return parent;
}
static void handler(int number) { signals += number == SIGUSR1 && getppid() > 0; }

int main(void) {
	signal(SIGUSR1, handler);
	int right = 0, own = 0;
	for (int i = 0; i < 50; i++) {
		long before = syscall(1004);
		ran = 0;
		long result = syscall(1003, inner);
		/* Where no hook answers the kernel knows no such number. */
		right += ran ? result == getppid() : result == -1 && errno == ENOSYS;
		if (!ran) getppid();
		long after = syscall(1004);
		own += before == -1 ? after == -1 : after == before + 1;
		raise(SIGUSR1);
	}
	SAY("right %d, own %d, signals %d\n", right, own, signals);
	return 0;
}
