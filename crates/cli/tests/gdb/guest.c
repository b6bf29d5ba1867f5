/* Two calls away from a read that blocks; a thread blocks in another call. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int ends[2];

static void *other(void *none) {
	char c;
	if (pread(ends[0], &c, 1, 0) != -1 || read(ends[0], &c, 1) != 0) abort();
	return none;
}

__attribute__((noinline)) static int inner(int n) {
	char c;
	volatile ssize_t got = read(0, &c, 1);
	return n + (int)got;
}

__attribute__((noinline)) static int outer(int n) {
	return inner(n + 1) + 1;
}

int main(void) {
	pthread_t thread;
	if (pipe(ends) || pthread_create(&thread, 0, other, 0)) return 1;
	puts("ready");
	fflush(stdout);
	int result = outer(1);
	close(ends[1]);
	pthread_join(thread, 0);
	printf("%d\n", result);
	return 0;
}
