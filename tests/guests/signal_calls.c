// build: gcc -O2 -pthread
// Every other way to get a signal: sigwait, sigtimedwait, signalfd, sigsuspend, ppoll, pending ones.
// only: ladder hook-run hook-run_arguments hook-after hook-after_arguments hook-run_reads hook-after_reads hook-record
// hook: after_arguments run
// patched: libc.so.6 400
#include "guest.h"
#include <sys/signalfd.h>

static volatile int count;
static void handler(int number, siginfo_t *info, void *context) {
	(void)number, (void)context;
	count += info->si_code == SI_QUEUE ? info->si_value.sival_int : 1;
}
int main(void) {
	sigset_t set, none, old;
	sigemptyset(&none);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1), sigaddset(&set, SIGRTMIN + 1);
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	sigaction(SIGUSR1, &action, NULL), sigaction(SIGRTMIN + 1, &action, NULL);
	sigprocmask(SIG_BLOCK, &set, &old);
	for (int i = 1; i <= 3; i++) sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = i});
	sigset_t pending;
	sigpending(&pending);
	SAY("pending %d\n", sigismember(&pending, SIGRTMIN + 1));
	for (int i = 1; i <= 3; i++) {
		siginfo_t info = {0};
		struct timespec at_once = {0};
		int number = sigtimedwait(&set, &info, &at_once);
		SAY("waited %d, value %d, code %d, pid %d\n", number == SIGRTMIN + 1, info.si_value.sival_int, info.si_code == SI_QUEUE,
		    info.si_pid == getpid());
	}
	struct timespec short_time = {0, 1000000};
	int result = sigtimedwait(&set, NULL, &short_time);
	SAY("nothing: %d %d\n", result, errno == EAGAIN);
	int fd = signalfd(-1, &set, SFD_NONBLOCK);
	raise(SIGUSR1);
	sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 9});
	for (int i = 0; i < 3; i++) {
		struct signalfd_siginfo info = {0};
		long len = read(fd, &info, sizeof info);
		SAY("signalfd: %d, signal %d, value %d, pad %d\n", (int)len, len > 0 ? info.ssi_signo == SIGUSR1 ? 1 : 2 : 0, info.ssi_int,
		    info.ssi_errno);
	}
	for (int i = 0; i < 20; i++) {
		interrupt(SIGUSR1, SYS_rt_sigsuspend);
		sigsuspend(&none);
	}
	SAY("suspended: %d\n", count);
	count = 0;
	for (int i = 0; i < 20; i++) {
		interrupt(SIGUSR1, SYS_ppoll);
		struct timespec longer = {60, 0};
		int value = ppoll(NULL, 0, &longer, &none);
		if (value != -1 || errno != EINTR) SAY("ppoll %d\n", value);
	}
	SAY("polled: %d\n", count);
	count = 0;
	for (int i = 0; i < 50; i++) raise(SIGUSR1), sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 100});
	SAY("blocked: %d\n", count);
	sigprocmask(SIG_SETMASK, &old, NULL);
	SAY("all at once: %d\n", count);
	return 0;
}
