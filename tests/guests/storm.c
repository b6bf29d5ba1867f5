// build: gcc -O2 -pthread
// A timer's signals land between any two instructions of patched code, ten thousand times a second.
// hook: reads_all
// hook: slow
// hook: hears
// patched: libc.so.6 400
#include "guest.h"

static volatile long signals;
static void handler(int number) { (void)number; signals++; getppid(); }

static void *worker(void *arg) {
	long wrong = 0;
	for (int i = 0; i < 100000; i++) {
		long big = syscall(SYS_lseek, -1, i, 0);
		if (big != -1 || errno != EBADF) wrong++;
		if (dup(-1) != -1) wrong++;
		if (getpid() != (long)arg) wrong++;
	}
	return (void *)wrong;
}

int main(void) {
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
	sigaction(SIGALRM, &action, NULL);
	struct itimerval timer = {{0, 100}, {0, 100}};
	setitimer(ITIMER_REAL, &timer, NULL);
	pthread_t threads[3];
	long total = 0;
	for (int i = 0; i < 3; i++) pthread_create(&threads[i], 0, worker, (void *)(long)getpid());
	for (int i = 0; i < 3; i++) {
		void *wrong;
		pthread_join(threads[i], &wrong);
		total += (long)wrong;
	}
	SAY("wrong %ld, signals arrived %d\n", total, signals > 10);
	return 0;
}
