// build: gcc -O1 -mrdrnd
// Other instructions than system calls: hooked or not, every register and flag is what it would be.
// hook: others
// hook: others_after
// hook: clockwork
// hook: hosted_run others hosted_after
// hook: others run clockwork
// patched: libc.so.6 400
#define _GNU_SOURCE
#include "frame.h"
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <ucontext.h>

VARIANT(identify, "xor %ecx, %ecx\n xor %eax, %eax\n site_identify: cpuid\n nop\n nop\n nop\n and $0, %ebx\n and $0, %ecx\n and $0, %edx");
VARIANT(state, "xor %ecx, %ecx\n site_state: xgetbv\n nop\n nop\n");
VARIANT(time, "site_time: rdtsc\n xor %eax, %eax\n xor %edx, %edx\n");
VARIANT(old, "mov $0x14, %eax\n site_old: int $0x80\n nop\n nop\n xor %eax, %eax\n");
/* Whether there was a number to be had is chance. */
VARIANT(random_wide, "site_random_wide: rdrand %r12\n mov $0, %r12d\n clc\n nop\n");
VARIANT(random_low, "site_random_low: rdrand %ecx\n shr $32, %rcx\n clc\n nop\n");
VARIANT(random_half, "site_random_half: rdrand %dx\n mov $0, %dx\n clc\n nop\n");
VARIANT(seed_wide, "site_seed_wide: rdseed %rax\n mov $0, %eax\n clc\n nop\n");
VARIANT(seed_low, "site_seed_low: rdseed %r9d\n shr $32, %r9\n clc\n nop\n");
VARIANT(older, "mov $0x14, %eax\n site_older: sysenter\n nop\n nop\n");
VARIANT(process, "site_process: rdtscp\n xor %eax, %eax\n xor %edx, %edx\n xor %ecx, %ecx\n");
PAD;

static uint64_t tsc(void) {
	uint32_t low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return low | (uint64_t)high << 32;
}
static uint64_t tscp(uint32_t *id) {
	uint32_t low, high;
	__asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(*id));
	return low | (uint64_t)high << 32;
}
static int chance(uint64_t *value) {
	unsigned char given;
	__asm__ volatile("rdrand %%rax\n setc %1" : "=a"(*value), "=q"(given) :: "cc");
	return given;
}

/* What hooks are not asked for: the function's name says so. */
__attribute__((noinline)) uint64_t unasked(void) {
	uint32_t low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return low | (uint64_t)high << 32;
}
__attribute__((noinline)) static long getpid_of_old(void) {
	long result;
	__asm__ volatile("mov $0x14, %%eax\n int $0x80" : "=a"(result) :: "r8", "r9", "r10", "r11", "memory");
	return result;
}

static sigjmp_buf back;
static volatile int there;
static void none(int signal, siginfo_t *info, void *context) {
	char *at = (char *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	printf("signal %d, at the instruction: %d %d\n", signal, info->si_addr == at,
	       at == SITE_OF(seed_wide) || at == SITE_OF(older));
	siglongjmp(back, 1);
}

/* Where the processor has no such instruction, or the kernel does not want it here. */
static void may_fault(void (*run)(void), unsigned long flags) {
	struct sigaction action = {.sa_sigaction = none, .sa_flags = SA_SIGINFO};
	sigaction(SIGILL, &action, NULL);
	if (!sigsetjmp(back, 1)) fill(0, flags), run(), printf("there\n"), there = 1;
}

static void wait_for_sysenter(void) {
	int status;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		/* Intel's kernels take it for a call of a 32-bit program, which has no place to come back to. */
		signal(SIGSEGV, SIG_DFL);
		may_fault(older, 0x202);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	printf("sysenter: %x\n", status & ~0x80);
}

int main(void) {
	static const unsigned long flags[] = {0x202, 0x203, 0xa02, 0xad7, 0x602, 0xed7, 0x40602, 0x4202, 0x44ed7};
	for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
		printf("flags %lx\n", flags[i]);
		fill(0, flags[i]);
		RUN(identify);
		fill(0, flags[i]);
		RUN(state);
		fill(0, flags[i]);
		RUN(time);
		fill(0, flags[i]);
		RUN(process);
		fill(0, flags[i]);
		RUN(old);
		fill(0, flags[i]);
		RUN(random_wide);
		fill(0, flags[i]);
		RUN(random_low);
		fill(0, flags[i]);
		RUN(random_half);
	}
	may_fault(seed_wide, 0x602);
	if (there) {
		fill(0, 0xed7);
		RUN(seed_wide);
		fill(0, 0xed7);
		RUN(seed_low);
	}
	wait_for_sysenter();
	const char *hooks = getenv("LIBHOTPATCH_HOOK");
	int odd = hooks && strstr(hooks, "clockwork");
	uint32_t id, a = 0, b, c = 0, d;
	uint64_t value, before = tsc(), between = tscp(&id), after = tsc();
	printf("time %s\n", odd ? between - before == 1000 && after - between == 1000 && id == 77 ? "right" : "wrong"
			  : before <= after ? "right" : "wrong");
	int given = chance(&value);
	printf("chance %s\n", !odd || (given && value == 4) ? "right" : "wrong");
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	printf("old call %s\n", getpid_of_old() == (odd ? 77 : getpid()) ? "right" : "wrong");
	before = unasked(), between = unasked(), after = unasked();
	printf("unasked %s\n", between - before == 1000 && after - between == 1000 ? "wrong" : "right");
	uint32_t low, high;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	printf("state %s\n", odd == (high == 0x11223344) ? "right" : "wrong");
	printf("vendor %s\n", odd == (b == 0x2e2e2e2e && c == b && d == b) ? "right" : "wrong");
	return 0;
}
