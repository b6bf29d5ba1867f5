// build: g++ -O2 -pthread
// A thread cancelled in a blocking call ends, and its destructors run.
// limit-alone: destructors
// patched: libc.so.6 400
#include "guest.h"

static int destroyed;
struct Guard {
	int by;
	~Guard() { destroyed += by; }
};
static int fds[2];
static volatile pid_t there;

static void __attribute__((noinline)) inner() {
	Guard guard{10};
	char byte;
	there = syscall(SYS_gettid);
	(void)!read(fds[0], &byte, 1);
}
static void *outer(void *arg) {
	Guard guard{1};
	inner();
	return arg;
}

int main() {
	if (pipe(fds)) return 1;
	int good = 0, cancelled = 0;
	for (int i = 0; i < 50; i++) {
		pthread_t thread;
		void *result;
		destroyed = there = 0;
		pthread_create(&thread, nullptr, outer, nullptr);
		while (!there) sched_yield();
		wait_until_in(there, SYS_read);
		pthread_cancel(thread);
		pthread_join(thread, &result);
		good += destroyed == 11;
		cancelled += result == PTHREAD_CANCELED;
	}
	printf("cancelled %d\ndestructors %d\n", cancelled, good);
	return 0;
}
