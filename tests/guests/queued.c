// build: gcc -O2 -pthread
// Queued signals arrive in order with their values, each once, while their thread is mostly in calls and in hooks;
// SA_RESETHAND and SA_NODEFER mean what they say there.
// only: ladder hook-run hook-run_arguments hook-after hook-after_arguments hook-run_reads hook-after_reads hook-record
// hook: slow
// hook: after_arguments run
// hook: hears
// patched: libc.so.6 400
#include "guest.h"

static volatile int next, wrong, depth, deepest;
static void in_order(int number, siginfo_t *info, void *context) {
	(void)context;
	if (number != SIGRTMIN + 3 || info->si_code != SI_QUEUE || info->si_pid != getpid() || info->si_value.sival_int != next) wrong++;
	next++;
}
static pthread_t main_thread;
static void *sender(void *count) {
	for (long i = 0; i < (long)count; i++) {
		union sigval value = {.sival_int = i};
		/* Bursts, so that some are queued while one waits. */
		while (pthread_sigqueue(main_thread, SIGRTMIN + 3, value)) sched_yield();
		if (i % 7 == 0) usleep(i % 50);
	}
	return NULL;
}
static volatile int once;
static void reset(int number) {
	(void)number;
	once++;
}
static void *killer(void *arg) {
	usleep((long)arg);
	pthread_kill(main_thread, SIGUSR2);
	return NULL;
}
static void nested(int number, siginfo_t *info, void *context) {
	(void)info, (void)context;
	if (++depth > deepest) deepest = depth;
	if (depth < 3) raise(number);
	getppid();
	depth--;
	next++;
}

int main(void) {
	main_thread = pthread_self();
	struct sigaction action = {.sa_sigaction = in_order, .sa_flags = SA_SIGINFO | SA_RESTART};
	sigaction(SIGRTMIN + 3, &action, NULL);
	pthread_t thread;
	const long count = 5000;
	pthread_create(&thread, NULL, sender, (void *)count);
	while (next < count) {
		getppid();
		syscall(SYS_getuid);
	}
	pthread_join(thread, NULL);
	SAY("in order: %d arrived, %d wrong\n", next, wrong);

	int bad = 0;
	for (long i = 0; i < 300; i++) {
		struct sigaction now, set = {.sa_handler = reset, .sa_flags = SA_RESETHAND};
		sigaddset(&set.sa_mask, SIGTERM);
		sigaction(SIGUSR2, &set, NULL);
		once = 0;
		pthread_create(&thread, NULL, killer, (void *)(i % 100));
		while (!once) getppid();
		pthread_join(thread, NULL);
		sigaction(SIGUSR2, NULL, &now);
		bad += once != 1 || now.sa_handler != SIG_DFL || !(now.sa_flags & SA_RESETHAND) || (now.sa_flags & SA_SIGINFO) ||
		       !sigismember(&now.sa_mask, SIGTERM);
	}
	SAY("reset: %d bad\n", bad);

	next = 0;
	struct sigaction deep = {.sa_sigaction = nested, .sa_flags = SA_SIGINFO | SA_NODEFER};
	sigaction(SIGUSR1, &deep, NULL);
	for (int i = 0; i < 200; i++) raise(SIGUSR1);
	SAY("not deferred: %d handlers, %d deep\n", next, deepest);
	return 0;
}
