// build: gcc -O1 -pthread -fno-builtin
// hook: hears
// A program that handles its own faults, as garbage collectors and compilers do: addresses and registers are its own.
// only: ladder hook-run hook-run_arguments hook-after hook-after_arguments hook-record
// site: site_divides = clobber
// patched: libc.so.6 400
#include "guest.h"
#include <ucontext.h>

extern char load_here[], load_next[];
long load(long *from);
/* On a fault the handler gives an answer and goes on behind the load. */
__asm__(".text\n.globl load, load_here, load_next\n.type load, @function\nload: .cfi_startproc\n mov $0x1234, %ecx\n"
	"load_here: mov (%rdi), %rax\nload_next: ret\n.cfi_endproc\n.size load, .-load\n");
/* An instruction that faults, and moves with a call: nothing near is padding. */
long divide(long by, long number), divides(void);
extern const volatile int divides_at;
__asm__(".text\n.globl divide, divides, site_divides\n.type divide, @function\n.type divides, @function\n"
	"divide: .cfi_startproc\n mov %edi, %r8d\n mov %esi, %eax\n .rept 45\n lea (%rdi), %rdi\n .endr\n jmp divides\n.cfi_endproc\n.size divide, .-divide\n"
	"divides: site_divides: .cfi_startproc\n syscall\n xor %edx, %edx\n1: div %r8d\n .rept 45\n lea (%rdi), %rdi\n .endr\n ret\n.cfi_endproc\n.size divides, .-divides\n"
	".pushsection .rodata\n.balign 4\ndivides_at: .long 1b-divides\n.popsection\n");
static volatile int count, strange;
static void by_zero(int number, siginfo_t *info, void *context) {
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	char *at = (char *)divides + divides_at;
	count++;
	if (number != SIGFPE || info->si_code != FPE_INTDIV || info->si_addr != at || (char *)r[REG_RIP] != at) strange++;
	r[REG_R8] = 1;
}
static char *page;
static void skip(int number, siginfo_t *info, void *context) {
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	count++;
	if (number != SIGSEGV || info->si_code != SEGV_MAPERR || info->si_addr != (void *)64) strange++;
	if (r[REG_RIP] != (greg_t)load_here || r[REG_RCX] != 0x1234 || r[REG_RDI] != 64) strange++;
	r[REG_RIP] = (greg_t)load_next;
	r[REG_RAX] = 77;
}
static void allow(int number, siginfo_t *info, void *context) {
	(void)number, (void)context;
	count++;
	if (info->si_code != SEGV_ACCERR || info->si_addr != page + 100) strange++;
	mprotect(page, 4096, PROT_READ | PROT_WRITE);
}
static sigjmp_buf back;
static void leave(int number) { siglongjmp(back, number); }
static void deep(int number, siginfo_t *info, void *context) {
	(void)number, (void)info, (void)context;
	siglongjmp(back, 9);
}
static volatile int never = 1;
__attribute__((noinline)) static int overflow(volatile char *above) {
	volatile char here[4096];
	here[0] = above ? above[0] : 1;
	return never ? overflow(here) + here[0] : 0;
}
static void died(const char *what, int how) {
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_DUMPABLE, 0);
		signal(SIGSEGV, SIG_DFL), signal(SIGFPE, SIG_DFL), signal(SIGILL, SIG_DFL), signal(SIGBUS, SIG_DFL);
		switch (how) {
		case 0: *(volatile int *)8 = 1; break;
		case 1: raise(SIGSEGV); break;
		case 2: kill(getpid(), SIGBUS); break;
		case 3: __asm__ volatile("ud2"); break;
		case 4: __asm__ volatile("div %0" ::"r"(0) : "rax", "rdx"); break;
		case 5: raw3(SYS_read, -1, 8, 1); _exit(5);
		case 6: {
			sigset_t set;
			sigfillset(&set);
			sigprocmask(SIG_BLOCK, &set, NULL);
			*(volatile int *)8 = 1;
			break;
		}
		case 7: signal(SIGSEGV, SIG_IGN); raise(SIGSEGV); *(volatile int *)8 = 1; break;
		}
		_exit(1);
	}
	wait_for(what, child);
}

int main(void) {
	struct sigaction action = {.sa_sigaction = skip, .sa_flags = SA_SIGINFO};
	sigaction(SIGSEGV, &action, NULL);
	long sum = 0;
	for (int i = 0; i < 1000; i++) sum += load((long *)64), getppid();
	SAY("skipped %d, sum %ld, strange %d\n", count, sum, strange);
	action.sa_sigaction = by_zero;
	sigaction(SIGFPE, &action, NULL);
	count = 0;
	for (int i = 0; i < 100; i++) strange += divide(0, SYS_getppid) != getppid();
	SAY("divided %d, strange %d\n", count, strange);
	page = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	action.sa_sigaction = allow;
	sigaction(SIGSEGV, &action, NULL);
	count = 0;
	for (int i = 0; i < 100; i++) {
		mprotect(page, 4096, PROT_NONE);
		page[100] = i;
	}
	SAY("allowed %d, strange %d\n", count, strange);
	mprotect(page, 4096, PROT_NONE);
	int said = write(1, page, 4);
	SAY("the kernel says %d: %d\n", said, errno == EFAULT);
	signal(SIGSEGV, leave), signal(SIGFPE, leave), signal(SIGILL, leave);
	count = 0;
	for (int i = 0; i < 300; i++) {
		int number = sigsetjmp(back, 1);
		if (number) {
			count += number;
			getppid();
			continue;
		}
		if (i % 3 == 0) load((long *)64);
		if (i % 3 == 1) __asm__ volatile("ud2");
		if (i % 3 == 2) __asm__ volatile("div %0" ::"r"(0) : "rax", "rdx");
	}
	SAY("left by a jump: %d\n", count);
	static char stack[65536];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
	sigaltstack(&alternate, NULL);
	struct sigaction over = {.sa_sigaction = deep, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	sigaction(SIGSEGV, &over, NULL);
	count = 0;
	for (volatile int i = 0; i < 5; i++) {
		if (sigsetjmp(back, 1)) count++;
		else count += overflow(NULL);
	}
	SAY("stack overflows: %d\n", count);
	died("store", 0), died("raise", 1), died("kill", 2), died("ud2", 3), died("div", 4), died("bad pointer", 5);
	died("blocked", 6), died("ignored", 7);
	return 0;
}
