// build: gcc -O2 -pthread
// A signal during a blocking call, with and without SA_RESTART: EINTR or the call again.
// hook: slow
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

int main(void) {
	if (pipe(fds)) return 1;
	char byte;
	for (int restart = 0; restart < 2; restart++) {
		int flags = restart ? SA_RESTART : 0;
		SAY("SA_RESTART %d\n", restart);
		for (int i = 0; i < 3; i++) {
			install(restart ? feed : handler, flags);
			signal_in(SIGUSR1, 10);
			result("read", read(fds[0], &byte, 1));
		}
		install(handler, flags);
		signal_in(SIGUSR1, 10);
		struct timespec time = {0, 50000000}, left = {9, 9};
		long value = nanosleep(&time, &left);
		result("nanosleep", value);
		if (value) SAY("left less: %d\n", left.tv_sec == 0 && left.tv_nsec < 50000000);
		install(handler, flags);
		signal_in(SIGUSR1, 10);
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += 50000000;
		if (until.tv_nsec >= 1000000000) until.tv_nsec -= 1000000000, until.tv_sec++;
		value = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		SAY("clock_nanosleep: %s\n", strerror(value));
		install(handler, flags);
		signal_in(SIGUSR1, 10);
		struct pollfd poller = {fds[0], POLLIN, 0};
		result("poll", poll(&poller, 1, 50));
		install(handler, flags);
		signal_in(SIGUSR1, 10);
		fd_set set;
		FD_ZERO(&set);
		FD_SET(fds[0], &set);
		struct timeval wait = {0, 50000};
		result("select", select(fds[0] + 1, &set, NULL, NULL, &wait));
		install(handler, flags);
		signal_in(SIGUSR1, 10);
		int epoll = epoll_create1(0);
		struct epoll_event event;
		result("epoll_wait", epoll_wait(epoll, &event, 1, 50));
		close(epoll);
		install(handler, flags);
		signal_in(SIGUSR1, 10);
		result("pause", pause());
		pid_t pid = fork();
		if (pid == 0) {
			usleep(60000);
			_exit(0);
		}
		install(handler, flags);
		signal_in(SIGUSR1, 10);
		int status;
		value = waitpid(pid, &status, 0);
		result("waitpid", value > 0 ? 1 : value);
		if (value < 0) waitpid(pid, &status, 0);
	}
	/* restart_syscall: stopped and continued in the middle of a sleep that has no handler. */
	pid_t pid = fork();
	if (pid == 0) {
		struct timespec time = {0, 150000000};
		_exit(nanosleep(&time, NULL) ? 1 : 0);
	}
	for (int i = 0; i < 5; i++) usleep(10000), kill(pid, SIGSTOP), usleep(2000), kill(pid, SIGCONT);
	wait_for("nanosleep over SIGSTOP", pid);
	return 0;
}
