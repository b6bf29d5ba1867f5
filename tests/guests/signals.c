// build: gcc -O1
// hook: hears
// What a handler gets and gives back: siginfo, context, masks, its own stack of 4 KB, a changed rip.
// site: site_kill = direct,stone,live-stone,before,clobber +before +clobber
// patched: libc.so.6 400
#include "guest.h"
#include <ucontext.h>

extern char site_kill[];
long kill_self(long number, long pid, long tid);
long after_skip(void);
/* Sends a signal to its own thread: the handler runs exactly behind the instruction. */
__asm__(".text\n.globl kill_self, site_kill\n.type kill_self, @function\nkill_self: .cfi_startproc\n"
	" mov %rdi, %r8\n mov %rsi, %rdi\n mov %rdx, %rsi\n mov %r8, %rdx\n"
	" movq $0x5678, -16(%rsp)\n mov $234, %eax\nsite_kill: syscall\n test %rax, %rax\n"
	" cmpq $0x5678, -16(%rsp)\n je 1f\n mov $-77, %rax\n1: ret\n.cfi_endproc\n.size kill_self, .-kill_self\n");

static volatile int count, depth;
static void info(int number, siginfo_t *info, void *context) {
	ucontext_t *c = context;
	greg_t *r = c->uc_mcontext.gregs;
	SAY("signal %d code %d from self %d, rax %lld, r11 is flags %d, mask has USR2 %d\n", number,
	    info->si_code, info->si_pid == getpid(), r[REG_RAX], (r[REG_R11] & ~0x10000) == (r[REG_EFL] & ~0x10000),
	    sigismember(&c->uc_sigmask, SIGUSR2));
	count++;
}
static void on_stack(int number, siginfo_t *info, void *context) {
	(void)info, (void)context;
	stack_t now;
	sigaltstack(NULL, &now);
	char here;
	count += number == SIGUSR1 && now.ss_flags == SS_ONSTACK && &here > (char *)now.ss_sp &&
		 &here < (char *)now.ss_sp + now.ss_size;
}
static void nested(int number) {
	(void)number;
	count++;
	if (++depth < 5) kill_self(SIGUSR1, getpid(), syscall(SYS_gettid));
	depth--;
}
static void result_of(int number, siginfo_t *info, void *context) {
	(void)number, (void)info;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = 1234;
}
static void elsewhere(int number, siginfo_t *info, void *context) {
	(void)number, (void)info;
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	/* As if the function had returned 4321: pops its return address. */
	r[REG_RIP] = *(greg_t *)r[REG_RSP];
	r[REG_RSP] += 8;
	r[REG_RAX] = 4321;
}
static void with(void *handler, int flags) {
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = flags};
	sigaction(SIGUSR1, &action, NULL);
	count = 0;
}

int main(void) {
	long pid = getpid(), tid = syscall(SYS_gettid);
	sigset_t set;
	sigemptyset(&set), sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	with(info, SA_SIGINFO);
	SAY("returned %ld\n", kill_self(SIGUSR1, pid, tid));
	with(info, SA_SIGINFO | SA_RESETHAND);
	SAY("returned %ld\n", kill_self(SIGUSR1, pid, tid));
	struct sigaction now;
	sigaction(SIGUSR1, NULL, &now);
	SAY("reset %d\n", now.sa_handler == SIG_DFL);
	with(nested, SA_NODEFER);
	long value = kill_self(SIGUSR1, pid, tid);
	SAY("returned %ld, nested %d\n", value, count);
	with(result_of, SA_SIGINFO);
	SAY("returned %ld\n", kill_self(SIGUSR1, pid, tid));
	with(elsewhere, SA_SIGINFO);
	SAY("returned %ld\n", kill_self(SIGUSR1, pid, tid));
	with(info, SA_SIGINFO);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	kill_self(SIGUSR1, pid, tid);
	SAY("blocked: %d so far\n", count);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	SAY("unblocked: %d\n", count);
	/* 4 KB, with a page that faults below it. */
	char *memory = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(memory, 4096, PROT_NONE);
	stack_t stack = {.ss_sp = memory + 4096, .ss_size = 4096}, old;
	sigaltstack(&stack, &old);
	with(on_stack, SA_SIGINFO | SA_ONSTACK);
	for (int i = 0; i < 100; i++) kill_self(SIGUSR1, pid, tid);
	SAY("on a stack of 4 KB: %d\n", count);
	with(SIG_IGN, 0);
	SAY("ignored: %ld\n", kill_self(SIGUSR1, pid, tid));
	pid_t child = fork();
	if (child == 0) {
		signal(SIGUSR1, SIG_DFL);
		kill_self(SIGUSR1, getpid(), syscall(SYS_gettid));
		_exit(0);
	}
	wait_for("default", child);
	return 0;
}
