/* What most guests use. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAY(...) (printf(__VA_ARGS__), fflush(stdout))

__attribute__((unused)) static void show_status(const char *what, int status) {
	if (WIFEXITED(status)) SAY("%s: exit %d\n", what, WEXITSTATUS(status));
	else if (WIFSIGNALED(status)) SAY("%s: signal %d\n", what, WTERMSIG(status));
	else SAY("%s: status %x\n", what, status);
}

__attribute__((unused)) static void wait_for(const char *what, pid_t pid) {
	int status;
	if (pid < 0 || waitpid(pid, &status, 0) != pid) SAY("%s: no child: %m\n", what);
	else show_status(what, status);
}

/* Delivers `number` to this thread once, after `ms` milliseconds. */
__attribute__((unused)) static void signal_in(int number, int ms) {
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = number};
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
	event.sigev_notify_thread_id = syscall(SYS_gettid);
	timer_t timer;
	if (timer_create(CLOCK_MONOTONIC, &event, &timer)) SAY("timer_create: %m\n");
	struct itimerspec when = {.it_value = {ms / 1000, ms % 1000 * 1000000}};
	timer_settime(timer, 0, &when, 0);
}

/* The first executable mapping of the guest itself, to compare text with its file. */
__attribute__((unused)) static long raw3(long number, long a, long b, long c) {
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return result;
}
