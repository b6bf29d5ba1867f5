// build: g++ -O1 -pthread -fnon-call-exceptions -fasynchronous-unwind-tables
// Handlers are left by siglongjmp, by another context and by an exception, in the middle of calls and of hooks.
// only: ladder hook-run hook-run_arguments hook-after hook-after_arguments hook-record
// hook: after_arguments run
// hook: hears
// patched: libc.so.6 400
#include "guest.h"
#include <stdexcept>
#include <ucontext.h>

static sigjmp_buf back;
static int fds[2];
static volatile long ticks;

static void jump(int) { siglongjmp(back, 1); }
static void blocked_jumps() {
	int jumped = 0;
	char byte;
	for (volatile int i = 0; i < 50; i++) {
		if (sigsetjmp(back, 1)) {
			jumped++;
			continue;
		}
		if (i & 1) interrupt(SIGALRM, SYS_read);
		else ualarm(1000 + i * 37, 0);
		for (;;) (void)!read(fds[0], &byte, 1);
	}
	printf("jumped out of a read %d times\n", jumped);
}
static volatile int armed;
static void jump_anywhere(int) {
	ticks++;
	if (armed) {
		armed = 0;
		siglongjmp(back, 1);
	}
}
/* A timer's signals land anywhere in short calls, in what leads to them and in hooks. */
static void storm_jumps() {
	signal(SIGALRM, jump_anywhere);
	itimerval fast = {{0, 200}, {0, 200}}, off = {{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &fast, nullptr);
	volatile int jumped = 0, wrong = 0;
	long pid = getpid();
	while (jumped < 1000) {
		if (sigsetjmp(back, 1)) {
			jumped = jumped + 1;
			if (jumped == 1000) break;
		}
		armed = 1;
		for (;;) {
			if (syscall(SYS_getpid) != pid) wrong = wrong + 1;
			if (getppid() == -1) wrong = wrong + 1;
		}
	}
	setitimer(ITIMER_REAL, &off, nullptr);
	printf("jumped out of anything %d times, wrong %d\n", jumped, wrong);
}

static ucontext_t mine, other;
static char stack[65536];
static volatile int switches;
static void on_other() {
	for (;;) {
		switches = switches + 1;
		swapcontext(&other, &mine);
	}
}
static void switch_away(int) { swapcontext(&mine, &other); }
static void contexts() {
	getcontext(&other);
	other.uc_stack.ss_sp = stack;
	other.uc_stack.ss_size = sizeof stack;
	sigemptyset(&other.uc_sigmask);
	makecontext(&other, on_other, 0);
	signal(SIGALRM, switch_away);
	char byte;
	int interrupted = 0;
	for (int i = 0; i < 50; i++) {
		interrupt(SIGALRM, SYS_poll);
		interrupted += poll(nullptr, 0, 60000) == -1;
	}
	struct sigaction action = {};
	action.sa_handler = switch_away;
	action.sa_flags = 0;
	sigaction(SIGALRM, &action, nullptr);
	int again = 0;
	for (int i = 0; i < 50; i++) {
		interrupt(SIGALRM, SYS_read);
		again += read(fds[0], &byte, 1) == -1;
	}
	printf("switched away %d times, %d polls and %d reads came back\n", (int)switches, interrupted, again);
}

struct Count {
	int *to;
	~Count() { ++*to; }
};
static void thrown(int) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &set, nullptr);
	throw std::runtime_error("out of a handler");
}
/* Its own code around the instruction, with unwind tables that hold everywhere. */
__attribute__((noinline)) static long own_read(char *to) {
	long result;
	asm volatile("syscall" : "=a"(result) : "a"(0), "D"((long)fds[0]), "S"(to), "d"(1L) : "rcx", "r11", "memory");
	return result;
}
static void exceptions() {
	signal(SIGALRM, thrown);
	int caught = 0, destroyed = 0;
	for (int i = 0; i < 50; i++) {
		try {
			Count count{&destroyed};
			char byte;
			interrupt(SIGALRM, SYS_read);
			for (;;) own_read(&byte);
		} catch (std::exception &) { caught++; }
	}
	printf("exceptions: caught %d, destroyed %d\n", caught, destroyed);
}

int main() {
	if (pipe(fds)) return 1;
	setvbuf(stdout, nullptr, _IOLBF, 0);
	signal(SIGALRM, jump);
	blocked_jumps();
	storm_jumps();
	contexts();
	exceptions();
	return 0;
}
