/* Processes that cannot be attached to, by the first argument. Each prints "ready" once it is one, and ends with standard
 * input. */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void ready(long number) {
	char byte;
	printf("ready %ld\n", number);
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
}

static void *in_thread(void *argument) {
	if (argument)
		pthread_join(*(pthread_t *)argument, 0);
	ready(syscall(SYS_gettid));
	exit(0);
}

int main(int argc, char **argv) {
	const char *what = argc > 1 ? argv[1] : "";
	if (strcmp(what, "filter") == 0) {
		struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
		struct sock_fprog program = {1, &all};
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
			return 2;
	} else if (strcmp(what, "gs") == 0) {
		static char there[64];
		syscall(SYS_arch_prctl, 0x1001, there);
	} else if (strcmp(what, "traced") == 0) {
		pid_t child = fork();
		if (child == 0) {
			pause();
			_exit(0);
		}
		if (ptrace(PTRACE_SEIZE, child, 0, 0) != 0)
			return 2;
		ready(child);
		kill(child, 9);
		return 0;
	} else if (strcmp(what, "zombie") == 0) {
		pid_t child = fork();
		if (child == 0)
			_exit(0);
		siginfo_t info;
		waitid(P_PID, child, &info, WEXITED | WNOWAIT);
		ready(child);
		return 0;
	} else if (strcmp(what, "vfork") == 0) {
		pid_t child = vfork();
		if (child == 0) {
			ready(getpid());
			_exit(0);
		}
		return 0;
	} else if (strcmp(what, "thread") == 0) {
		pthread_t thread;
		pthread_create(&thread, 0, in_thread, 0);
		pthread_join(thread, 0);
	} else if (strcmp(what, "leader") == 0) {
		static pthread_t leader;
		pthread_t thread;
		leader = pthread_self();
		pthread_create(&thread, 0, in_thread, &leader);
		pthread_exit(0);
	} else if (strcmp(what, "undumpable") == 0) {
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	}
	ready(getpid());
	return 0;
}
