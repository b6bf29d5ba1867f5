// build: gcc -O1 -pthread
// Signals in a program that makes calls in memory which it may go on writing to: masks, stacks, dispositions and
// contexts are its own, whatever is blocked.
// patched: libc.so.6 400
// log: calls from there are caught
// only: ladder hook-run hook-after hook-record hook-run_reads
// hook: after run
// hook: slow
// hook: hears
#include "written.h"
#include <ucontext.h>
static unsigned char *page;
static call_t call;
static code_t pid_of;

static int has(const sigset_t *set, int number) { return sigismember(set, number); }
static uint64_t mask(void) {
	uint64_t now = 0;
	call(SYS_rt_sigprocmask, SIG_SETMASK, 0, (long)&now, 8, 0, 0);
	uint64_t again = 0;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, 0, &again, 8);
	if (now != again) SAY("two masks: %lx %lx\n", now, again);
	return now;
}

static volatile int where, good;
static volatile uint64_t inside, before;
static volatile uintptr_t stack_at;
static stack_t seen_stack, asked_stack;
static sigjmp_buf back;
static void handler(int number, siginfo_t *info, void *arg) {
	ucontext_t *context = arg;
	int local;
	stack_at = (uintptr_t)&local;
	seen_stack = context->uc_stack;
	sigaltstack(NULL, &asked_stack);
	inside = mask();
	memcpy((void *)&before, &context->uc_sigmask, 8);
	good += pid_of() == getpid() && info->si_signo == number;
	if (where == 1) siglongjmp(back, 1);
	if (where == 2) sigaddset(&context->uc_sigmask, SIGSYS), sigaddset(&context->uc_sigmask, SIGUSR2);
	if (where == 3) where = 0, call(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR2, 0, 0, 0), good += pid_of() == getpid();
	errno = 0;
}
static void set(int number, int flags, int full) {
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags}, now;
	if (full) sigfillset(&action.sa_mask);
	if (sigaction(number, &action, NULL)) SAY("sigaction %d: %m\n", number);
	sigaction(number, NULL, &now);
	if (now.sa_sigaction != handler || (now.sa_flags & ~0x04000000) != action.sa_flags || has(&now.sa_mask, SIGSYS) != full)
		SAY("sigaction %d reads %p %x %d\n", number, (void *)now.sa_sigaction, now.sa_flags, has(&now.sa_mask, SIGSYS));
}
static const char *place(const stack_t *stack) {
	int local;
	if (stack && stack_at - (uintptr_t)stack->ss_sp < stack->ss_size) return "alternate";
	return stack_at < (uintptr_t)&local && (uintptr_t)&local - stack_at < 65536 ? "own" : "other";
}
static void told(const char *what, const stack_t *stack) {
	int named = !stack || (seen_stack.ss_sp == stack->ss_sp && seen_stack.ss_size == stack->ss_size);
	SAY("%s: good %d, inside %lx, before %lx, after %lx, on %s, context %d, asked %x\n", what, good, inside, before, mask(), place(stack), named, asked_stack.ss_flags);
	good = 0;
}

static void masks(void) {
	sigset_t all, none, some, old;
	sigfillset(&all), sigemptyset(&none);
	set(SIGUSR1, 0, 0), set(SIGUSR2, 0, 1);
	raise(SIGUSR1), told("plain", NULL);
	raise(SIGUSR2), told("all blocked in handler", NULL);
	sigprocmask(SIG_SETMASK, &all, &old);
	SAY("blocked: %d, calls %d, mask %lx, old %d\n", has(&all, SIGSYS), pid_of() == getpid(), mask(), has(&old, SIGSYS));
	sigemptyset(&some), sigaddset(&some, SIGUSR1);
	sigprocmask(SIG_UNBLOCK, &some, &old);
	SAY("old %d\n", has(&old, SIGSYS));
	raise(SIGUSR1), told("SIGSYS blocked", NULL);
	where = 2, sigprocmask(SIG_SETMASK, &none, NULL);
	raise(SIGUSR1), where = 0, told("handler blocks SIGSYS in its context", NULL);
	SAY("calls %d\n", pid_of() == getpid());
	sigprocmask(SIG_SETMASK, &none, NULL);
	where = 1;
	if (!sigsetjmp(back, 1)) raise(SIGUSR2);
	where = 0, told("left by a jump", NULL);
	if (!sigsetjmp(back, 0)) where = 1, raise(SIGUSR2);
	where = 0, told("left by a jump with its mask", NULL);
	SAY("calls %d\n", pid_of() == getpid());
	sigprocmask(SIG_SETMASK, &none, NULL);
	where = 3, raise(SIGUSR1), told("nested", NULL);
	/* What waits takes a mask of its own. */
	struct timespec now = {0, 0};
	sigprocmask(SIG_BLOCK, &some, NULL), raise(SIGUSR1);
	sigset_t wait = all;
	sigdelset(&wait, SIGUSR1);
	SAY("ppoll %d", ppoll(NULL, 0, &now, &wait)), SAY(" %m\n"), told("in ppoll", NULL);
	raise(SIGUSR1), SAY("sigsuspend %d\n", sigsuspend(&wait)), told("in sigsuspend", NULL);
	SAY("wrong mask: %ld %ld\n", call(SYS_rt_sigprocmask, 7, (long)&wait, 0, 8, 0, 0), call(SYS_rt_sigprocmask, 0, (long)&wait, 0, 4, 0, 0));
	SAY("nowhere: %ld %ld\n", call(SYS_rt_sigprocmask, 0, 8, 0, 8, 0, 0), call(SYS_rt_sigprocmask, 0, 0, 8, 8, 0, 0));
	sigprocmask(SIG_SETMASK, &none, NULL);
	told("at the end", NULL);
}

static unsigned char small[4096 + 8192] __attribute__((aligned(4096))), large[65536];
static void stacks(void) {
	stack_t big = {.ss_sp = large, .ss_size = sizeof large}, off = {.ss_flags = SS_DISABLE}, was;
	memset(small, 0x55, sizeof small);
	stack_t little = {.ss_sp = small + 4096, .ss_size = 8192}; /* the page below must stay as it is */
	set(SIGUSR1, SA_ONSTACK, 1), set(SIGUSR2, 0, 0);
	raise(SIGUSR1), told("none", NULL);
	SAY("set %d\n", sigaltstack(&big, &was)), SAY("was %x\n", was.ss_flags);
	raise(SIGUSR1), told("large", &big);
	raise(SIGUSR2), told("not asked for", &big);
	where = 1;
	if (!sigsetjmp(back, 1)) raise(SIGUSR1);
	where = 0, told("left by a jump", &big);
	raise(SIGUSR1), told("again", &big);
	where = 3, raise(SIGUSR1), told("nested", &big);
	SAY("set %d\n", sigaltstack(&little, &was)), SAY("was %d %zx\n", was.ss_sp == large, was.ss_size);
	raise(SIGUSR1), told("little", &little);
	int changed = 0;
	for (int i = 0; i < 4096; i++) changed += small[i] != 0x55;
	SAY("below it %d\n", changed);
	stack_t tiny = {.ss_sp = small, .ss_size = 512}, odd = {.ss_sp = small, .ss_flags = 77, .ss_size = 8192};
	SAY("tiny %d", sigaltstack(&tiny, NULL)), SAY(" %m, odd %d", sigaltstack(&odd, NULL)), SAY(" %m\n");
	SAY("nowhere %ld\n", call(SYS_sigaltstack, 8, 0, 0, 0, 0, 0));
	raise(SIGUSR1), told("little still", &little);
	SAY("off %d\n", sigaltstack(&off, &was)), SAY("was %d\n", was.ss_sp == small + 4096);
	raise(SIGUSR1), told("none", NULL);
}

static void *on_thread(void *arg) {
	(void)arg;
	SAY("thread: mask %lx, calls %d\n", mask(), pid_of() == getpid());
	stack_t was, big = {.ss_sp = large, .ss_size = sizeof large};
	sigaltstack(NULL, &was);
	SAY("thread's stack %x\n", was.ss_flags);
	sigaltstack(&big, NULL);
	raise(SIGUSR1), told("thread", &big);
	return NULL;
}
static void inherited(void) {
	sigset_t all, none;
	sigfillset(&all), sigemptyset(&none);
	pthread_t thread;
	sigprocmask(SIG_SETMASK, &all, NULL);
	sigdelset(&all, SIGUSR1);
	pthread_create(&thread, NULL, on_thread, NULL), pthread_join(thread, NULL);
	sigprocmask(SIG_SETMASK, &all, NULL);
	stack_t big = {.ss_sp = large, .ss_size = sizeof large}, was;
	sigaltstack(&big, NULL);
	pid_t pid = fork();
	if (!pid) {
		sigaltstack(NULL, &was);
		SAY("child: mask %lx, calls %d, stack %d\n", mask(), pid_of() == getpid(), was.ss_sp == large);
		raise(SIGUSR1), told("child", &big);
		execl("/proc/self/exe", "self", "blocked", NULL);
		_exit(1);
	}
	wait_for("child", pid);
	if (!vfork()) execl("/bin/nothing", "nothing", NULL), _exit(3);
	SAY("after an exec that fails: mask %lx, calls %d\n", mask(), pid_of() == getpid());
	execl("/bin/nothing", "nothing", NULL);
	SAY("after another: mask %lx, calls %d\n", mask(), pid_of() == getpid());
	sigprocmask(SIG_SETMASK, &none, NULL);
	stack_t off = {.ss_flags = SS_DISABLE};
	sigaltstack(&off, NULL);
}

static volatile int system_calls;
static volatile long code_seen;
static void on_system(int number, siginfo_t *info, void *arg) {
	(void)arg;
	system_calls += number == SIGSYS;
	code_seen = info->si_code;
	good += pid_of() == getpid();
}
static void own_signal(void) {
	sigset_t only, pending, old;
	sigemptyset(&only), sigaddset(&only, SIGSYS);
	struct sigaction action = {.sa_sigaction = on_system, .sa_flags = SA_SIGINFO}, now;
	sigaction(SIGSYS, NULL, &now);
	SAY("SIGSYS: %d %x\n", now.sa_handler == SIG_DFL, now.sa_flags);
	sigaction(SIGSYS, &action, NULL), sigaction(SIGSYS, NULL, &now);
	SAY("set: %d %x\n", now.sa_sigaction == on_system, now.sa_flags & ~0x04000000);
	raise(SIGSYS), SAY("raised %d, code %ld, calls %d %d\n", system_calls, code_seen, good, pid_of() == getpid());
	sigprocmask(SIG_BLOCK, &only, NULL);
	good = 0, call(SYS_tgkill, getpid(), getpid(), SIGSYS, 0, 0, 0);
	call(SYS_tgkill, getpid(), getpid(), SIGSYS, 0, 0, 0);
	sigpending(&pending);
	SAY("blocked: %d, pending %d, calls %d\n", system_calls, has(&pending, SIGSYS), pid_of() == getpid());
	sigprocmask(SIG_UNBLOCK, &only, &old);
	SAY("unblocked: %d, %d, calls %d %d\n", system_calls, has(&old, SIGSYS), pid_of() == getpid(), good);
	action.sa_flags |= SA_RESETHAND, sigaction(SIGSYS, &action, NULL);
	SAY("calls %d\n", pid_of() == getpid());
	sigaction(SIGSYS, NULL, &now), SAY("once: %d %x\n", now.sa_sigaction == on_system, now.sa_flags & ~0x04000000);
	raise(SIGSYS), sigaction(SIGSYS, NULL, &now);
	SAY("then: %d, %d, calls %d\n", system_calls, now.sa_handler == SIG_DFL, pid_of() == getpid());
	signal(SIGSYS, SIG_IGN), raise(SIGSYS);
	SAY("ignored: %d, calls %d\n", system_calls, pid_of() == getpid());
	signal(SIGSYS, SIG_DFL);
	pid_t pid = fork();
	if (!pid) {
		struct rlimit none = {0, 0};
		setrlimit(RLIMIT_CORE, &none);
		if (pid_of() == getpid()) raise(SIGSYS);
		_exit(1);
	}
	wait_for("by default", pid);
}

static void interrupted(void) {
	int fds[2], n;
	if (pipe(fds)) return;
	char byte;
	set(SIGUSR1, 0, 1);
	interrupt(SIGUSR1, SYS_read);
	n = (int)call(SYS_read, fds[0], (long)&byte, 1, 0, 0, 0);
	SAY("interrupted: %d\n", n), told("read", NULL);
	struct timespec day = {100000, 0};
	interrupt(SIGUSR1, SYS_clock_nanosleep);
	SAY("sleep: %ld\n", call(SYS_clock_nanosleep, 0, 0, (long)&day, 0, 0, 0)), told("sleep", NULL);
}

int main(int argc, char **argv) {
	if (argc > 1) {
		sigset_t now;
		sigprocmask(SIG_BLOCK, NULL, &now);
		return SAY("%s: %d\n", argv[1], has(&now, SIGSYS)), 0;
	}
	page = writable_code(4096);
	call = put_call(page), pid_of = put_number(page + 64, SYS_getpid);
	masks();
	stacks();
	inherited();
	own_signal();
	interrupted();
	return 0;
}
