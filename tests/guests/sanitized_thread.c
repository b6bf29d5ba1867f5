// build: gcc -O1 -g -pthread -fsanitize=thread -static-libtsan
// A program with -fsanitize=thread: its handlers are put off by its runtime, its threads are begun and watched by it.
// only: ladder stone hook-run hook-after hook-record
// hook: slow
// timeout: 60
// patched: libc.so.6 400
#include "guest.h"

static volatile int ticks;
static void tick(int number) {
	(void)number;
	int kept = errno;
	ticks += getppid() > 0;
	errno = kept;
}
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long shared;
static void *thread(void *arg) {
	for (int i = 0; i < 200; i++) {
		pthread_mutex_lock(&lock);
		shared++;
		pthread_mutex_unlock(&lock);
		if (i % 16 == 0) sched_yield();
	}
	return arg;
}
static long raced;
static void *racing(void *arg) {
	for (int i = 0; i < 1000; i++) raced++;
	return arg;
}

int main(void) {
	struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
	sigaction(SIGUSR1, &action, NULL);
	int fds[2];
	char byte;
	if (pipe(fds)) return 1;
	action.sa_flags = 0;
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 20; i++) {
		interrupt(SIGUSR1, SYS_read);
		if (read(fds[0], &byte, 1) != -1) SAY("read\n");
	}
	SAY("handled %d\n", ticks);
	for (int i = 0; i < 20; i++) {
		pthread_t threads[4];
		for (int j = 0; j < 4; j++) pthread_create(&threads[j], NULL, thread, NULL);
		for (int j = 0; j < 4; j++) pthread_join(threads[j], NULL);
	}
	SAY("shared %ld\n", shared);
	pid_t child = fork();
	if (child == 0) {
		/* A race, told of by the status at the end. */
		freopen("/dev/null", "w", stderr);
		pthread_t threads[2];
		for (int j = 0; j < 2; j++) pthread_create(&threads[j], NULL, racing, NULL);
		for (int j = 0; j < 2; j++) pthread_join(threads[j], NULL);
		exit(0);
	}
	wait_for("race", child);
	return 0;
}
