// build: gcc -O2 -pthread
// A signal during a blocking call, with and without SA_RESTART: EINTR or the call again.
// hook: slow
// hook: hears
// patched: libc.so.6 400
#include "guest.h"
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/select.h>

static volatile int seen;
static int fds[2];
static void handler(int number) { seen = number; }
static void feed(int number) { seen = number; if (write(fds[1], "y", 1) != 1) abort(); }

static void install(void (*what)(int), int flags) {
	struct sigaction action = {.sa_handler = what, .sa_flags = flags};
	sigaction(SIGUSR1, &action, NULL);
	seen = 0;
}

static void result(const char *what, long value) {
	int error = errno;
	SAY("%s: %ld %s, handler %d\n", what, value, value < 0 ? strerror(error) : "", seen);
}

/* A signal arrives when the call sleeps, which would end in time to be told from a call that hangs. */
#define LONG 30

int main(void) {
	if (pipe(fds)) return 1;
	char byte;
	for (int restart = 0; restart < 2; restart++) {
		int flags = restart ? SA_RESTART : 0;
		SAY("SA_RESTART %d\n", restart);
		for (int i = 0; i < 3; i++) {
			install(restart ? feed : handler, flags);
			interrupt(SIGUSR1, SYS_read);
			result("read", read(fds[0], &byte, 1));
		}
		install(handler, flags);
		interrupt(SIGUSR1, SYS_clock_nanosleep);
		struct timespec time = {LONG, 0}, left = {LONG + 9, 9};
		result("nanosleep", nanosleep(&time, &left));
		SAY("left less: %d\n", left.tv_sec < LONG && left.tv_sec >= 0);
		install(handler, flags);
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += LONG;
		interrupt(SIGUSR1, SYS_clock_nanosleep);
		int error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		SAY("clock_nanosleep: %s\n", strerror(error));
		install(handler, flags);
		interrupt(SIGUSR1, SYS_poll);
		struct pollfd poller = {fds[0], POLLIN, 0};
		result("poll", poll(&poller, 1, LONG * 1000));
		install(handler, flags);
		interrupt(SIGUSR1, SYS_pselect6);
		fd_set set;
		FD_ZERO(&set);
		FD_SET(fds[0], &set);
		struct timeval wait = {LONG, 0};
		result("select", select(fds[0] + 1, &set, NULL, NULL, &wait));
		install(handler, flags);
		interrupt(SIGUSR1, SYS_epoll_wait);
		int epoll = epoll_create1(0);
		struct epoll_event event;
		result("epoll_wait", epoll_wait(epoll, &event, 1, LONG * 1000));
		close(epoll);
		install(handler, flags);
		interrupt(SIGUSR1, SYS_pause);
		result("pause", pause());
		/* The child lives until the handler, or its parent, writes. */
		pid_t pid = fork();
		if (pid == 0) _exit(read(fds[0], &byte, 1) == 1 ? 0 : 1);
		install(restart ? feed : handler, flags);
		interrupt(SIGUSR1, SYS_wait4);
		int status;
		long value = waitpid(pid, &status, 0);
		result("waitpid", value > 0 ? 1 : value);
		if (value < 0) feed(0), waitpid(pid, &status, 0);
		show_status("child", status);
	}
	/* restart_syscall: stopped and continued in the middle of a sleep that has no handler. */
	pid_t pid = fork();
	if (pid == 0) {
		struct timespec time = {0, 300000000};
		_exit(nanosleep(&time, NULL) ? 1 : 0);
	}
	wait_until_in(pid, SYS_clock_nanosleep);
	int status;
	for (int i = 0; i < 5; i++) {
		kill(pid, SIGSTOP);
		if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status)) break;
		kill(pid, SIGCONT);
		if (waitpid(pid, &status, WCONTINUED) != pid || !WIFCONTINUED(status)) break;
		usleep(1000);
	}
	if (!WIFEXITED(status)) waitpid(pid, &status, 0);
	show_status("nanosleep over SIGSTOP", status);
	return 0;
}
