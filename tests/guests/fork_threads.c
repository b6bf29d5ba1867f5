// build: gcc -O2 -pthread
// fork while other threads are busy in system calls and in malloc.
// patched: libc.so.6 400
#include "guest.h"

static volatile int stop;
static void *busy(void *arg) {
	while (!stop) {
		free(malloc(100000));
		getppid();
	}
	return arg;
}

int main(void) {
	pthread_t threads[3];
	for (int i = 0; i < 3; i++) pthread_create(&threads[i], 0, busy, 0);
	int good = 0;
	for (int i = 0; i < 60; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			free(malloc(200000));
			_exit(i);
		}
		int status;
		waitpid(pid, &status, 0);
		good += status == i << 8;
	}
	stop = 1;
	for (int i = 0; i < 3; i++) pthread_join(threads[i], 0);
	SAY("%d\n", good);
	return 0;
}
