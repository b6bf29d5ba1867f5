// build: gcc -O1
// A tracer sends a signal before every single instruction of a call's way, however it is patched and whoever is asked:
// the handler sees the program's own state, runs once, and nothing is different afterwards.
// only: ladder hook-run hook-run_arguments hook-after hook-after_arguments hook-run_reads hook-after_reads hook-record
// hook: reads_first
// hook: change
// hook: answer
// hook: answer_arguments
// hook: answer_reads
// hook: renumber
// hook: run record
// hook: after_arguments run_arguments
// hook: hears
// timeout: 120
// site: site_alone = direct,stone,live-stone,before,clobber,evict
// site: site_between = stone,live-stone,before,clobber,evict
// site: site_packed = clobber
// site: site_calls = clobber
// patched: libc.so.6 400
#include "steps.h"

/* Where there is room for stones, and where neighbours move along. */
VARIANT(alone, "mov %eax, %eax\nsite_alone: syscall\n nop\n nop\n nop\n nop\n nop");
PAD;
VARIANT(between, "lea scratch(%rip), %rcx\n mov %rcx, %rcx\nsite_between: syscall\n lea scratch+8(%rip), %r11\n mov %rax, %rax");
VARIANT(packed, "jmp 1f\n 2: nop\n 1: lea (%rax), %rax\nsite_packed: syscall\n xchg %r12, %r13\n xchg %r12, %r13\n mov (%rsp), %r11");
VARIANT(calls, "jmp 1f\n 2: nop\n 1: lea (%rax), %rax\nsite_calls: syscall\n call leaf\n nop");
__asm__(".text\n.type leaf, @function\nleaf: xchg %r14, %r15\n xchg %r14, %r15\n ret\n.size leaf, .-leaf\n");

static struct variant variants[4];
static long expected;
static int wrong;

static void complain(const char *what, unsigned long a, unsigned long b, int step) {
	if (wrong++ < 5) printf("%s, call %ld, step %d: %s: %lx %lx\n", now->name, (long)in.r[RAX], step, what, a, b);
}
static int step;

static char stack[65536];
static void handler(int number, siginfo_t *info, void *context) {
	ucontext_t *c = context;
	greg_t *g = c->uc_mcontext.gregs;
	const char *rip = (char *)g[REG_RIP], *site = now->site;
	arrived++;
	if (number != SIGUSR1 || info->si_signo != SIGUSR1) complain("siginfo", number, info->si_code, step);
	if (rip < __executable_start || rip >= etext) complain("rip", (long)rip, 0, step);
	if (sigismember(&c->uc_sigmask, SIGUSR1) || sigismember(&c->uc_sigmask, SIGTERM)) complain("mask", 0, 0, step);
	char *here = (char *)&c, *usual = (char *)&c + 65536;
	if (step & 1 ? here < stack || here > stack + sizeof stack : here > (char *)g[REG_RSP] || usual < (char *)g[REG_RSP]) complain("stack", (long)here, g[REG_RSP], step);
	if (rip != site && rip != site + 2) return;
	static const int of[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
				 REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
	for (int i = 0; i < 16; i++) {
		if (i == RCX || i == R11 || i == RAX) continue;
		unsigned long should = i == RSP ? saved_rsp : in.r[i];
		if ((unsigned long)g[of[i]] != should) complain(names[i], g[of[i]], should, step);
	}
	if (rip == site && (unsigned long)g[REG_RAX] != in.r[RAX]) complain("number", g[REG_RAX], in.r[RAX], step);
	if (rip == site + 2) {
		if (g[REG_RAX] != expected && in.r[RAX] != SYS_fork) complain("result", g[REG_RAX], expected, step);
		if (g[REG_RCX] != (long)site + 2) complain("rcx", g[REG_RCX], (long)site + 2, step);
	}
	/* What a hook may leave behind must not lie where the program keeps something. */
	if (now->run == calls && rip == site + 2) return; /* half of that call may have been executed */
	if (*(unsigned long *)(saved_rsp - 8) != 0x11111111) complain("red zone", 0, 0, step);
	if (*(unsigned long *)(saved_rsp - 128) != 0x0bcdef01) complain("red zone's end", 0, 0, step);
}

static void traced(void) {
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
	sigaltstack(&alternate, NULL);
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	static const long numbers[] = {SYS_dup, SYS_getuid, 1000, SYS_rt_sigaction, SYS_fork};
	for (int v = 0; v < 4; v++) {
		for (int n = 0; n < 5; n++) {
			/* Once each is enough where only the neighbours differ. */
			if ((v > 1 && n > 0) || (v == 0 && numbers[n] == SYS_fork)) continue;
			now = &variants[v];
			fill(numbers[n], 0x8d7);
			if (numbers[n] != SYS_fork) expected = syscall(numbers[n], -1, -1, -1, -1);
			if (expected == -1) expected = -errno;
			over = wrong = 0;
			/* Pages of the stack are looked at once. */
			now->run();
			if (numbers[n] == SYS_fork && out.r[RAX] == 0) _exit(0);
			if (numbers[n] == SYS_fork) waitpid(out.r[RAX], NULL, 0);
			/* The first time nothing is sent. */
			for (step = -1; !over; step++) {
				struct sigaction action = {.sa_sigaction = handler,
							   .sa_flags = SA_SIGINFO | (step & 1 ? SA_ONSTACK : 0)};
				sigaction(SIGUSR1, &action, NULL);
				arrived = missed = 0;
				begin();
				now->run();
				if (numbers[n] == SYS_fork && out.r[RAX] == 0) _exit(0);
				end();
				if (numbers[n] == SYS_fork) {
					if (waitpid(out.r[RAX], NULL, 0) != (long)out.r[RAX]) complain("child", out.r[RAX], 0, step);
				} else if ((long)out.r[RAX] != expected) complain("answer", out.r[RAX], expected, step);
				if (arrived != (step >= 0 && !missed)) complain("arrived", arrived, 0, step);
				for (int i = 0; i < 16; i++) {
					unsigned long should = i == RSP ? saved_rsp : in.r[i];
					int lost = i == RAX || i == R11 || i == RCX;
					if (!lost && out.r[i] != should) complain(names[i], out.r[i], should, step);
				}
				if (v != 1 && v != 2 && v != 3 && out.r[RCX] != (unsigned long)now->site + 2) complain("rcx", out.r[RCX], 0, step);
				if ((out.flags ^ in.flags) & ~0x300) complain("flags", out.flags, in.flags, step);
			}
			printf("%s, call %ld: %s\n", now->name, numbers[n], wrong ? "wrong" : "right");
			fflush(stdout);
		}
	}
	_exit(0);
}

int main(void) {
	const struct variant all[] = {{"alone", alone, SITE_OF(alone)},
				      {"between", between, SITE_OF(between)},
				      {"packed", packed, SITE_OF(packed)},
				      {"calls", calls, SITE_OF(calls)}};
	memcpy(variants, all, sizeof all);
	pid_t child = fork();
	if (child == 0) traced();
	return step_all(child, offset_alone - 2);
}
