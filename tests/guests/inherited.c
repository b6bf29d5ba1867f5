// build: gcc -O1
// Signals blocked and ignored, a timer running and one pending: all inherited over exec, none disturbed by the start.
// patched: libc.so.6 400
#include "again.h"
static void arrange(void) {
	sigset_t set;
	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	raise(SIGUSR1);
	struct itimerval timer = {{0, 200}, {0, 200}};
	setitimer(ITIMER_REAL, &timer, NULL);
}
static void ignore(void) {
	signal(SIGALRM, SIG_IGN);
	struct itimerval timer = {{0, 50}, {0, 50}};
	setitimer(ITIMER_REAL, &timer, NULL);
}
int main(int argc, char **argv) {
	if (argc > 1) {
		(void)argv;
		sigset_t blocked, pending;
		sigprocmask(SIG_BLOCK, NULL, &blocked);
		usleep(2000);
		sigpending(&pending);
		for (int i = 1; i < 32; i++) {
			struct sigaction action;
			if (sigaction(i, NULL, &action) == 0)
				SAY("%d%d%d ", sigismember(&blocked, i), i != SIGPROF && sigismember(&pending, i), action.sa_handler == SIG_IGN);
		}
		SAY("\n");
		return 16;
	}
	SAY("%x\n", again("inner", arrange));
	SAY("%x\n", again("inner", ignore));
	return 0;
}
