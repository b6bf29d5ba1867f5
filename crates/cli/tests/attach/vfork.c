/* Its first thread waits for a child that has a copy of its memory, as if it were a vfork's, and so cannot be stopped. The
 * child ends when standard input does; another thread of the parent has to see that. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int ends[2];

static void *sees(void *argument) {
	char byte;
	if (read(ends[0], &byte, 1) == 0)
		puts("as it should be");
	fflush(stdout);
	return argument;
}

int main(void) {
	pthread_t thread;
	if (pipe(ends) != 0 || pthread_create(&thread, 0, sees, 0) != 0)
		return 2;
	long child = syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
	if (child == 0) {
		char byte;
		static const char words[] = "ready\n";
		if (write(1, words, sizeof words - 1) > 0)
			while (read(0, &byte, 1) > 0)
				;
		_exit(0);
	}
	close(ends[1]);
	waitpid((pid_t)child, 0, 0);
	pthread_join(thread, 0);
	return 0;
}
