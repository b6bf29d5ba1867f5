// build: gcc -O1 -pthread -mfsgsbase -mrdrnd
// A program that sets gs without asking the kernel has it for itself; one that only asks is told what it would be.
// hook: others
// hook: others_after
// hook: others run hosted_after_arguments
// log: no hook is called any more: the program sets gs itself
// log: no hook is called any more: the program sets a seccomp filter, and may set gs
// patched: gs_base 8
#include "guest.h"
#include "frame.h"
#include <asm/prctl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <x86intrin.h>

VARIANT(read_wide, "site_read_wide: rdgsbase %rbp\n nop\n");
VARIANT(read_low, "site_read_low: rdgsbase %ecx\n nop\n");
VARIANT(read_new, "site_read_new: rdgsbase %r12\n nop\n");
VARIANT(read_new_low, "site_read_new_low: rdgsbase %r13d\n nop\n");
VARIANT(write_none, "mov $0, %esi\n site_write_none: wrgsbase %rsi\n nop\n");
VARIANT(write_low, "mov $1, %edx\n shl $32, %rdx\n site_write_low: wrgsbase %edx\n nop\n");
VARIANT(write_wide, "site_write_wide: wrgsbase %r14\n nop\n");
PAD;

static unsigned long own[2] = {0x1234, 0x5678}, others[8];
static pthread_barrier_t barrier;
static sigjmp_buf back;
static char *fault_at;

static unsigned long at_gs(int n) {
	unsigned long value;
	__asm__ volatile("mov %%gs:(%1), %0" : "=r"(value) : "r"(8L * n) : "memory");
	return value;
}

static void handler(int signal, siginfo_t *info, void *context) {
	(void)signal;
	fault_at = (char *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	SAY("fault %d\n", info->si_code);
	siglongjmp(back, 1);
}

/* All instructions that hooks may see, and calls: nothing relies on what gs was. */
static void work(const char *who) {
	unsigned a = 0, b, c = 0, d;
	unsigned long value;
	int good = 0;
	for (int i = 0; i < 200; i++) {
		__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
		__asm__ volatile("rdrand %0" : "=r"(value) :: "cc");
		a = c = 0;
		(void)__rdtsc();
		good += getppid() > 0 && _readgsbase_u64() % 8 == 0;
	}
	SAY("%s: %d\n", who, good);
}

/* Reads, sets, and has what it has set when others have set theirs. */
static void *thread(void *arg) {
	unsigned long *mine = (unsigned long *)arg;
	if (mine) {
		*mine = mine - others + 70;
		_writegsbase_u64((unsigned long)mine);
	}
	pthread_barrier_wait(&barrier);
	if (mine && (at_gs(0) != *mine || _readgsbase_u64() != (unsigned long)mine)) SAY("not mine\n");
	for (int i = 0; mine && i < 1000; i++) {
		getppid();
		if (at_gs(0) != *mine) SAY("not mine, later\n");
		_writegsbase_u64((unsigned long)own);
		if (at_gs(1) != 0x5678) SAY("not the other\n");
		_writegsbase_u64((unsigned long)mine);
	}
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void together(unsigned long *first) {
	pthread_t threads[4];
	pthread_barrier_init(&barrier, NULL, 5);
	for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, thread, first ? first + i : NULL);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
}

/* Behind a filter nothing of ours can be changed any more. */
static int filtered(void) {
	struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog program = {1, allow};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	SAY("filter %ld\n", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
	work("filtered");
	together(others);
	_writegsbase_u64((unsigned long)own);
	work("filtered, after");
	SAY("%lx\n", at_gs(1));
	return 0;
}

int main(int argc, char **argv) {
	static const unsigned long flags[] = {0x202, 0x203, 0xa02, 0xad7, 0x602, 0xed7, 0x40602, 0x4202, 0x44ed7};
	unsigned long base = 1;
	for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
		fill(0, flags[i]);
		RUN(read_wide);
		fill(0, flags[i]);
		RUN(read_low);
		fill(0, flags[i]);
		RUN(write_none);
		fill(0, flags[i]);
		RUN(write_low);
	}
	SAY("%ld\n", syscall(SYS_arch_prctl, ARCH_SET_GS, 0));
	SAY("%ld %lx\n", syscall(SYS_arch_prctl, ARCH_GET_GS, &base), base);
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	sigaction(SIGSEGV, &action, NULL);
	if (!sigsetjmp(back, 1)) {
		fill(0, 0x202);
		in.r[R14] = 1ul << 62;
		write_wide();
	}
	SAY("at the instruction: %d\n", fault_at == SITE_OF(write_wide));
	together(NULL);
	SAY("native so far\n");
	if (argc > 1) return filtered();
	pid_t pid = fork();
	if (pid == 0) {
		/* Threads that set it at the same time, first of all. */
		together(others);
		work("child");
		_exit(3);
	}
	wait_for("child", pid);
	work("before");
	for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
		fill(0, flags[i]);
		in.r[R14] = (unsigned long)own;
		RUN(write_wide);
		SAY("%lx %lx\n", at_gs(0), at_gs(1));
		fill(0, flags[i]);
		in.r[R12] = in.r[R13] = (unsigned long)own;
		RUN(read_new);
		fill(0, flags[i]);
		in.r[R13] = (unsigned)(unsigned long)own;
		RUN(read_new_low);
	}
	SAY("%ld", syscall(SYS_arch_prctl, ARCH_GET_GS, &base));
	SAY(" %d\n", base == (unsigned long)own);
	work("after");
	together(others);
	pid = fork();
	if (pid == 0) _exit(at_gs(0) == 0x1234 ? 3 : 4);
	wait_for("child", pid);
	system("echo a command");
	fill(0, 0x202);
	RUN(write_low);
	SAY("%llx\n", _readgsbase_u64());
	char *again[] = {argv[0], "again", NULL};
	execv("/proc/self/exe", again);
	return 1;
}
