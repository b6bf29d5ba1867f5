/* Threads exec this very program, again and again: argv[1] is how often still. Ends with status 7. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char **words;
static volatile int go;

static void *thread(void *mine) {
	while (!go) continue;
	if (mine) {
		execv("/proc/self/exe", words);
		abort();
	}
	for (;;) getppid();
}

int main(int argc, char **argv) {
	long left = argc > 1 ? atol(argv[1]) : 0;
	if (left == 0) return 7;
	char number[32];
	snprintf(number, sizeof number, "%ld", left - 1);
	words = (char *[]){argv[0], number, NULL};
	pthread_t threads[4];
	for (int n = 0; n < 4; n++)
		if (pthread_create(&threads[n], NULL, thread, (void *)(long)(n == left % 4))) return 8;
	go = 1;
	for (;;) pause();
}
