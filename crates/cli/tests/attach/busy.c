/* Threads that wait in all ways, compute and take signals, until standard input ends. Each checks what it sees: nothing may
 * change for it while somebody attaches and detaches. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_PRIVATE = 128, WAKE_PRIVATE = 129 }; /* of futex; musl has no linux/futex.h beside it */

static atomic_int over, failed;
static __thread volatile sig_atomic_t handled;
static __thread volatile sig_atomic_t on_alternate;
static __thread char alternate[64 << 10];

static void fail(const char *what, long a, long b) {
	atomic_store(&failed, 1);
	fprintf(stderr, "%s: %ld %ld\n", what, a, b);
}

#define CHECK(is, a, b) do { if (!(is)) fail(#is, (long)(a), (long)(b)); } while (0)

static void handler(int signal, siginfo_t *info, void *context) {
	char here;
	(void)context;
	CHECK(info->si_signo == signal, signal, info->si_signo);
	on_alternate += &here >= alternate && &here < alternate + sizeof alternate;
	/* Calls from a handler, and their results in errno. */
	int before = errno;
	CHECK(syscall(SYS_getppid) == getppid(), 0, 0);
	CHECK(close(-1) == -1 && errno == EBADF, errno, 0);
	errno = before;
	handled++;
}

/* Waits without an end, but for its bytes. */
static void *reads(void *argument) {
	int *pipes = argument;
	uint64_t sum = 0;
	for (;;) {
		uint64_t word;
		ssize_t got = read(pipes[0], &word, sizeof word);
		if (got == 0)
			break;
		CHECK(got == sizeof word, got, errno);
		sum += word;
	}
	return (void *)sum;
}

static void *writes(void *argument) {
	int *pipes = argument;
	uint64_t sum = 0;
	for (uint64_t n = 1; !over; n++) {
		CHECK(write(pipes[1], &n, sizeof n) == sizeof n, errno, 0);
		sum += n;
		if (n % 64 == 0)
			usleep(500);
	}
	close(pipes[1]);
	return (void *)sum;
}

/* Sleeps: no signal reaches this thread, so nothing may cut that short. */
static void *sleeps(void *argument) {
	(void)argument;
	while (!over) {
		struct timespec a, b, rest = {0, 0}, time = {0, 20 * 1000 * 1000};
		clock_gettime(CLOCK_MONOTONIC, &a);
		int error = clock_nanosleep(CLOCK_MONOTONIC, 0, &time, &rest);
		clock_gettime(CLOCK_MONOTONIC, &b);
		CHECK(error == 0, error, 0);
		CHECK((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec >= 20 * 1000 * 1000, 0, 0);
	}
	return 0;
}

/* The same for a wait that the kernel does not begin again by itself. */
static void *polls(void *argument) {
	int *pipes = argument, epoll = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN}, got;
	CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[0], &event) == 0, errno, 0);
	while (!over) {
		int n = epoll_wait(epoll, &got, 1, 15);
		CHECK(n == 0, n, errno);
		struct pollfd fd = {.fd = pipes[0], .events = POLLIN};
		n = poll(&fd, 1, 5);
		CHECK(n == 0, n, errno);
		sigset_t none;
		sigemptyset(&none);
		sigaddset(&none, SIGUSR2);
		struct timespec time = {0, 5 * 1000 * 1000};
		n = sigtimedwait(&none, 0, &time);
		CHECK(n == -1 && errno == EAGAIN, n, errno);
	}
	close(epoll);
	return 0;
}

/* Waits for signals: each wait ends by a handler, and none is lost. */
static void *takes_signals(void *argument) {
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate}, now;
	CHECK(sigaltstack(&stack, 0) == 0, errno, 0);
	sigset_t open, before;
	sigfillset(&open);
	sigdelset(&open, SIGUSR1);
	pthread_sigmask(SIG_SETMASK, 0, &before);
	*(atomic_int *)argument = (int)syscall(SYS_gettid);
	while (!over) {
		int seen = handled, last = on_alternate;
		CHECK(sigsuspend(&open) == -1 && errno == EINTR, errno, 0);
		CHECK(handled > seen && on_alternate - last == handled - seen, handled, seen);
		CHECK(sigaltstack(0, &now) == 0 && now.ss_sp == alternate, errno, 0);
		CHECK((now.ss_flags & 3) == 0 && now.ss_size == sizeof alternate, now.ss_flags, now.ss_size);
	}
	return (void *)(intptr_t)handled;
}

/* Counts in turns, by a futex. */
static atomic_int turn;
static void *turns(void *argument) {
	int own = (int)(intptr_t)argument;
	long taken = 0;
	for (;;) {
		int now = atomic_load(&turn);
		if (now < 0)
			break;
		if (now % 2 != own) {
			long got = syscall(SYS_futex, &turn, WAIT_PRIVATE, now, 0, 0, 0);
			CHECK(got == 0 || errno == EAGAIN, got, errno);
			continue;
		}
		taken++;
		atomic_store(&turn, over ? -1 : (now + 1) & 0xffffff);
		syscall(SYS_futex, &turn, WAKE_PRIVATE, INT_MAX, 0, 0, 0);
	}
	return (void *)taken;
}

/* Calls without a pause: what they leave in registers. */
static void *calls(void *argument) {
	(void)argument;
	long own = syscall(SYS_gettid), n = 0;
	for (; !over; n++) {
		CHECK(syscall(SYS_gettid) == own, own, 0);
		double a = (double)n, b = a * 1.5;
		CHECK(getppid() > 0 && b == (double)n * 1.5, n, 0);
		char buffer[64];
		int fd = open("/proc/self/stat", O_RDONLY);
		CHECK(fd >= 0 && read(fd, buffer, sizeof buffer) == sizeof buffer && close(fd) == 0, fd, errno);
		sched_yield();
	}
	return 0;
}

static void *nothing(void *argument) {
	return argument;
}

/* Threads, processes and mappings that come and go. */
static void *comes_and_goes(void *argument) {
	(void)argument;
	while (!over) {
		pthread_t thread;
		void *got;
		CHECK(pthread_create(&thread, 0, nothing, &got) == 0, 0, 0);
		CHECK(pthread_join(thread, &got) == 0 && got == &got, 0, 0);
		pid_t child = fork();
		if (child == 0)
			_exit(getppid() > 0 ? 7 : 8);
		int status;
		CHECK(waitpid(child, &status, 0) == child && status == 7 << 8, status, errno);
		void *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(page != MAP_FAILED && munmap(page, 4096) == 0, errno, 0);
		usleep(1000);
	}
	return 0;
}

int main(void) {
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK}, now;
	sigaction(SIGUSR1, &action, 0);
	sigset_t all;
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	pthread_sigmask(SIG_SETMASK, &all, 0);
	int data[2], quiet[2];
	atomic_int signalled = 0;
	if (pipe(data) != 0 || pipe(quiet) != 0)
		return 2;
	pthread_t threads[9];
	pthread_create(&threads[0], 0, reads, data);
	pthread_create(&threads[1], 0, writes, data);
	pthread_create(&threads[2], 0, sleeps, 0);
	pthread_create(&threads[3], 0, polls, quiet);
	pthread_create(&threads[4], 0, takes_signals, &signalled);
	pthread_create(&threads[5], 0, turns, (void *)0);
	pthread_create(&threads[6], 0, turns, (void *)1);
	pthread_create(&threads[7], 0, calls, 0);
	pthread_create(&threads[8], 0, comes_and_goes, 0);
	while (!signalled)
		usleep(100);
	puts("ready");
	fflush(stdout);
	struct pollfd end = {.fd = 0, .events = POLLIN};
	long sent = 0;
	/* One signal at a time, so that each ends one wait. */
	while (poll(&end, 1, 2) == 0) {
		syscall(SYS_tgkill, getpid(), signalled, SIGUSR1);
		sent++;
		CHECK(sigaction(SIGUSR1, 0, &now) == 0 && now.sa_sigaction == handler, 0, 0);
	}
	over = 1;
	for (;;) {
		/* It may have seen that too late. */
		syscall(SYS_tgkill, getpid(), signalled, SIGUSR1);
		struct timespec time;
		clock_gettime(CLOCK_REALTIME, &time);
		time.tv_nsec += 10 * 1000 * 1000;
		time.tv_sec += time.tv_nsec / 1000000000;
		time.tv_nsec %= 1000000000;
		void *got;
		if (pthread_timedjoin_np(threads[4], &got, &time) == 0) {
			CHECK((long)got > 0 && (long)got <= sent + 1000, got, sent);
			break;
		}
	}
	void *results[9];
	for (int n = 0; n < 9; n++) {
		if (n != 4)
			CHECK(pthread_join(threads[n], &results[n]) == 0, n, 0);
	}
	CHECK(results[0] == results[1], results[0], results[1]);
	CHECK((long)results[5] > 0 && (long)results[6] > 0, results[5], results[6]);
	puts(failed ? "failed" : "as it should be");
	return failed;
}
