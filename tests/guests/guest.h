/* What most guests use. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
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

/* Waits until the thread `tid` of this process, or a child of it, sleeps in `call`; -1: in any. Where it never does
 * the guest hangs, and the suite shows where. */
__attribute__((unused)) static void wait_until_in(pid_t tid, long call) {
	char path[40], line[160];
	snprintf(path, sizeof path, "/proc/%d/syscall", (int)tid);
	for (int seen = 0; seen < 2;) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t len = fd < 0 ? -1 : read(fd, line, sizeof line - 1);
		if (fd >= 0) close(fd);
		line[len > 0 ? len : 0] = 0;
		/* `running` where it does not sleep, -1 where it sleeps outside of calls. */
		int there = line[0] >= '0' && line[0] <= '9' && (call < 0 || atol(line) == call);
		seen = there ? seen + 1 : 0;
		usleep(100);
	}
}

/* Sends `number` to this thread once, when it sleeps in `call`. */
struct interruption {
	pid_t tid;
	int number;
	long call;
};
__attribute__((unused)) static void *interrupter(void *arg) {
	struct interruption *what = (struct interruption *)arg;
	wait_until_in(what->tid, what->call);
	syscall(SYS_tgkill, getpid(), what->tid, what->number);
	free(what);
	return NULL;
}
__attribute__((unused)) static void interrupt(int number, long call) {
	struct interruption *what = (struct interruption *)malloc(sizeof *what);
	what->tid = syscall(SYS_gettid), what->number = number, what->call = call;
	/* No signal of the process's is the sender's. */
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_t thread;
	if (pthread_create(&thread, NULL, interrupter, what)) SAY("no thread: %m\n");
	else pthread_detach(thread);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

__attribute__((unused)) static long raw3(long number, long a, long b, long c) {
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return result;
}
