// build: gcc -O2 -pthread
// Threads that start, make calls, wait for each other and end, many at a time.
// patched: libc.so.6 400
#include "guest.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static int now, total;
static _Thread_local long mine;

static void *worker(void *arg) {
	long id = (long)arg;
	mine = id;
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 200; i++) {
		char byte;
		int fds[2];
		if (pipe(fds) || write(fds[1], "x", 1) != 1 || read(fds[0], &byte, 1) != 1) abort();
		close(fds[0]), close(fds[1]);
		if (i % 50 == 0) sched_yield();
	}
	pthread_mutex_lock(&lock);
	while (now != id) pthread_cond_wait(&turn, &lock);
	now++;
	total += mine;
	pthread_cond_broadcast(&turn);
	pthread_mutex_unlock(&lock);
	return (void *)(id * 3);
}

int main(void) {
	for (int round = 0; round < 10; round++) {
		pthread_t threads[16];
		pthread_barrier_init(&barrier, 0, 16);
		now = total = 0;
		for (long i = 0; i < 16; i++) pthread_create(&threads[i], 0, worker, (void *)i);
		long sum = 0;
		for (int i = 0; i < 16; i++) {
			void *result;
			pthread_join(threads[i], &result);
			sum += (long)result;
		}
		SAY("%d %ld\n", total, sum);
	}
	return 0;
}
