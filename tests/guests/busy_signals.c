// build: gcc -O2 -pthread
// Children are spawned and threads begin and end, while timers send signals to whoever runs.
// only: ladder hook-run hook-run_arguments hook-after hook-after_arguments hook-run_reads hook-after_reads hook-record
// hook: reads_all
// hook: slow
// hook: hears
// patched: libc.so.6 400
// timeout: 60
#include "guest.h"
#include <spawn.h>
#include <linux/sched.h>

static volatile long ticks;
static __thread volatile long mine;
static void tick(int number, siginfo_t *info, void *context) {
	(void)number, (void)info, (void)context;
	int kept = errno;
	__atomic_fetch_add(&ticks, 1, __ATOMIC_RELAXED);
	getppid();
	errno = kept;
}
static void storm(int usec) {
	struct itimerval fast = {{0, usec}, {0, usec}};
	setitimer(ITIMER_REAL, &fast, NULL);
}
static void *thread(void *arg) {
	for (int i = 0; i < 20; i++) {
		mine += i;
		if (getppid() <= 0) return NULL;
	}
	return mine == 190 ? arg : NULL;
}
/* A thread with nothing but a stack, which gets signals from its first instruction on. */
static volatile int finished;
static int raw_thread(void *arg) {
	for (int i = 0; i < 20; i++) raw3(SYS_getppid, 0, 0, 0);
	__atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
	(void)arg;
	return 0;
}

int main(void) {
	struct sigaction action = {.sa_sigaction = tick, .sa_flags = SA_SIGINFO | SA_RESTART};
	sigaction(SIGALRM, &action, NULL);
	extern char **environ;
	char *arguments[] = {"true", NULL};
	storm(400);
	int good = 0;
	for (int i = 0; i < 60; i++) {
		pid_t child;
		int status;
		if (posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environ)) continue;
		while (waitpid(child, &status, 0) == -1 && errno == EINTR) continue;
		good += WIFEXITED(status) && WEXITSTATUS(status) == 0;
	}
	SAY("spawned %d\n", good);
	good = 0;
	for (int i = 0; i < 60; i++) {
		pid_t child = fork();
		if (child == 0) _exit(7);
		int status;
		while (waitpid(child, &status, 0) == -1 && errno == EINTR) continue;
		good += WIFEXITED(status) && WEXITSTATUS(status) == 7;
	}
	SAY("forked %d\n", good);
	good = 0;
	for (int i = 0; i < 200; i++) {
		pthread_t threads[4];
		for (int j = 0; j < 4; j++) pthread_create(&threads[j], NULL, thread, (void *)1);
		for (int j = 0; j < 4; j++) {
			void *result;
			pthread_join(threads[j], &result);
			good += result == (void *)1;
		}
	}
	SAY("threads %d\n", good);
	static char stacks[8][65536] __attribute__((aligned(16)));
	for (int i = 0; i < 300; i++) {
		int before = finished;
		for (int j = 0; j < 4; j++)
			clone(raw_thread, stacks[j] + sizeof stacks[j], CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_SYSVSEM | CLONE_THREAD, NULL);
		while (finished < before + 4) sched_yield();
		usleep(200);
	}
	SAY("raw threads %d\n", finished);
	struct sigaction now;
	sigaction(SIGALRM, NULL, &now);
	SAY("handler %d, it ran %d\n", now.sa_sigaction == tick, ticks > 100);
	return 0;
}
