/* Guests that run themselves again in another environment: main(1 argument) is the inner run. */
#include "guest.h"
extern char **environ;

/* Runs itself with `argument`, after `before` has changed the child. */
static int again(const char *argument, void (*before)(void)) {
	int status = 0;
	pid_t pid = fork();
	if (pid == 0) {
		if (before) before();
		execl("/proc/self/exe", "again", argument, NULL);
		_exit(126);
	}
	waitpid(pid, &status, 0);
	return status;
}
