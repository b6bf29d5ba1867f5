// build: gcc -O1 -g -pthread -fsanitize=address,undefined -static-libasan -static-libubsan
// Programs with -fsanitize=address,undefined: their own signal handlers, stacks of their own, leaks looked for by a
// thread that stops all others; and what they find is found.
// only: ladder stone hook-run hook-after hook-record
// hook: slow
// hook: hosted_run
// hook: hosted_threads hosted_after
// timeout: 60
// patched: libc.so.6 400
#include "guest.h"

static volatile int ticks;
static void tick(int number) {
	(void)number;
	char *copy = strdup("in a handler");
	ticks += copy[0] == 'i' && getppid() > 0;
	free(copy);
}
static void *thread(void *arg) {
	long sum = 0;
	for (int i = 0; i < 200; i++) {
		char *block = malloc(100 + i);
		memset(block, 1, 100 + i);
		sum += block[99] + (getppid() > 0);
		free(block);
	}
	(void)arg;
	return (void *)sum;
}
/* What is wrong is found, and ends a child with a status that says so. */
static volatile int one = 1;
static void found(const char *what, int how) {
	pid_t child = fork();
	if (child == 0) {
		freopen("/dev/null", "w", stderr);
		char *block = malloc(16);
		volatile int big = 0x7fffffff;
		switch (how) {
		case 0: block[16 + one - 1] = 1; break;
		case 1: free(block); block[one] = 1; break;
		case 2: free(block); free(block); break;
		case 3: *(volatile int *)(long)(one * 8) = 1; break;
		case 4: big += one; break;
		case 5: {
			char on_stack[16];
			*(volatile char *)(on_stack + 15 + one) = 1;
		}
		}
		_exit(42);
	}
	wait_for(what, child);
}

int main(void) {
	struct sigaction action = {.sa_handler = tick};
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 20; i++) {
		interrupt(SIGUSR1, SYS_pause);
		pause();
	}
	SAY("handled %d\n", ticks);
	long sum = 0;
	for (int i = 0; i < 20; i++) {
		pthread_t threads[4];
		for (int j = 0; j < 4; j++) pthread_create(&threads[j], NULL, thread, NULL);
		for (int j = 0; j < 4; j++) {
			void *result;
			pthread_join(threads[j], &result);
			sum += (long)result;
		}
	}
	SAY("threads %ld\n", sum);
	found("overflow", 0);
	found("use after free", 1);
	found("double free", 2);
	found("null", 3);
	found("undefined, and goes on", 4);
	found("stack overflow", 5);
	return 0;
}
