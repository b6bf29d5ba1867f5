// build: gcc -O1 -rdynamic -fasynchronous-unwind-tables
// backtrace() through a signal frame and out of a function that holds a site.
// patched: libc.so.6 400
#include "guest.h"
#include <execinfo.h>

static int frames_from(void *function, void **stack, int count) {
	for (int i = 0; i < count; i++)
		if ((char *)stack[i] >= (char *)function && (char *)stack[i] < (char *)function + 256) return i;
	return -1;
}
static int deep_enough, handled;
static void handler(int number) {
	(void)number;
	extern int main(void);
	void *stack[32];
	int count = backtrace(stack, 32);
	deep_enough += frames_from((void *)main, stack, count) > 0;
	handled++;
}
__attribute__((noinline)) static int spin(int until) {
	while (handled < until) __asm__ volatile("" ::: "memory");
	return handled;
}
int main(void) {
	signal(SIGALRM, handler);
	void *warm[4];
	backtrace(warm, 4);
	struct itimerval timer = {{0, 1000}, {0, 1000}};
	setitimer(ITIMER_REAL, &timer, NULL);
	spin(20);
	struct itimerval none = {0};
	setitimer(ITIMER_REAL, &none, NULL);
	SAY("%d\n", handled == deep_enough);
	return 0;
}
