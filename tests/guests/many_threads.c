// build: gcc -O1 -pthread
// Ten thousand threads and five hundred processes leave nothing behind.
// patched: libc.so.6 400
// timeout: 60
#include "guest.h"

static pthread_barrier_t all;
static void *thread(void *arg) {
	pthread_barrier_wait(&all);
	getppid();
	return arg;
}

static void round_of_threads(int count) {
	pthread_t threads[40];
	for (int done = 0; done < count; done += 40) {
		for (int i = 0; i < 40; i++)
			if (pthread_create(&threads[i], NULL, thread, NULL)) SAY("no thread: %m\n");
		pthread_barrier_wait(&all);
		for (int i = 0; i < 40; i++) pthread_join(threads[i], NULL);
	}
}
static void round_of_processes(int count) {
	for (int i = 0; i < count; i++) {
		pid_t pid = i % 2 ? fork() : vfork();
		if (pid == 0) _exit(0);
		waitpid(pid, NULL, 0);
	}
}
static long size(const char *what) {
	char line[256];
	long kb = -1;
	FILE *status = fopen("/proc/self/status", "r");
	while (fgets(line, sizeof line, status))
		if (!strncmp(line, what, strlen(what))) kb = atol(line + strlen(what));
	fclose(status);
	return kb;
}

int main(void) {
	pthread_barrier_init(&all, NULL, 41);
	round_of_threads(400);
	round_of_processes(20);
	long mapped = size("VmSize:"), resident = size("VmRSS:");
	round_of_threads(9600);
	round_of_processes(480);
	SAY("mapped: %s\n", size("VmSize:") - mapped < 256 ? "as before" : "more");
	SAY("resident: %s\n", size("VmRSS:") - resident < 256 ? "as before" : "more");
	return 0;
}
