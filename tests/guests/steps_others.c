// build: gcc -O1
// The same at instructions that are no system calls: no register is free there, and the handler sees all of the program's own.
// only: ladder hook-run
// hook: others
// hook: others_after
// hook: hosted_run others others_after
// timeout: 120
// patched: libc.so.6 400
#include "steps.h"

VARIANT(time, "mov %eax, %eax\nsite_time: rdtsc\n nop\n nop\n nop\n nop\n nop");
PAD;
VARIANT(packed, "mov %eax, %eax\nsite_packed: rdtsc\n xchg %r12, %r13\n xchg %r12, %r13\n mov %r10, %r10\n mov (%rsp), %r11");
VARIANT(process, "mov %eax, %eax\nsite_process: rdtscp\n mov %r10, %r10\n mov %r9, %r9");
VARIANT(identity, "mov $0, %eax\n mov $0, %ecx\nsite_identity: cpuid\n mov %r10, %r10\n mov %r9, %r9");
VARIANT(state, "mov %eax, %eax\n mov $0, %ecx\nsite_state: xgetbv\n nop\n nop\n nop");
VARIANT(old, "mov $64, %eax\nsite_old: int $0x80\n mov %r10, %r10\n mov %r9, %r9");
VARIANT(chance, "mov %eax, %eax\nsite_chance: rdrand %r12\n nop\n nop");
VARIANT(base, "mov %eax, %eax\nsite_base: rdgsbase %r8\n nop\n nop");

#define BIT(r) (1u << (r))
static struct own {
	struct variant variant;
	/* Its length, what it changes, and what is changed by then. */
	int len;
	unsigned changes, before;
	/* What they become, where that is not chance. */
	int known;
	unsigned long value[16];
} all[8];
static int wrong, step;

static const struct own *own(void) { return (const struct own *)now; }
static void complain(const char *what, unsigned long a, unsigned long b) {
	if (wrong++ < 5) printf("%s, step %d: %s: %lx %lx\n", now->name, step, what, a, b);
}

/* Whether what the instruction leaves in a register can be that. */
static int may_be(int i, unsigned long value) {
	if (own()->known) return value == own()->value[i];
	return i == R12 || value >> 32 == 0;
}

static char stack[65536];
static void handler(int number, siginfo_t *info, void *context) {
	ucontext_t *c = context;
	greg_t *g = c->uc_mcontext.gregs;
	const char *rip = (char *)g[REG_RIP], *site = now->site;
	arrived++;
	if (number != SIGUSR1 || info->si_signo != SIGUSR1) complain("siginfo", number, info->si_code);
	if (rip < __executable_start || rip >= etext) complain("rip", (long)rip, 0);
	char *here = (char *)&c, *usual = (char *)&c + 65536;
	if (step & 1 ? here < stack || here > stack + sizeof stack : here > (char *)g[REG_RSP] || usual < (char *)g[REG_RSP]) complain("stack", (long)here, g[REG_RSP]);
	if (rip != site && rip != site + own()->len) return;
	static const int of[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
				 REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
	for (int i = 0; i < 16; i++) {
		unsigned long should = i == RSP ? saved_rsp : in.r[i], is = (unsigned long)g[of[i]];
		if (own()->before & BIT(i)) continue;
		if (rip != site && own()->changes & BIT(i)) {
			if (!may_be(i, is)) complain(names[i], is, own()->value[i]);
		} else if (is != should) complain(names[i], is, should);
	}
	unsigned long arithmetic = now->run == chance && rip != site ? 0x8d5 : 0;
	if ((g[REG_EFL] ^ in.flags) & ~(0x10300ul | arithmetic)) complain("flags there", g[REG_EFL], in.flags);
	if (*(unsigned long *)(saved_rsp - 8) != 0x11111111) complain("red zone", 0, 0);
	if (*(unsigned long *)(saved_rsp - 128) != 0x0bcdef01) complain("red zone's end", 0, 0);
}

static void traced(void) {
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
	sigaltstack(&alternate, NULL);
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	for (int v = 0; v < 8; v++) {
		now = &all[v].variant;
		fill(7, 0x8d7);
		over = wrong = 0;
		for (step = -1; !over; step++) {
			struct sigaction action = {.sa_sigaction = handler,
						   .sa_flags = SA_SIGINFO | (step & 1 ? SA_ONSTACK : 0)};
			sigaction(SIGUSR1, &action, NULL);
			arrived = missed = 0;
			begin();
			now->run();
			end();
			if (arrived != (step >= 0 && !missed)) complain("arrived", arrived, 0);
			for (int i = 0; i < 16; i++) {
				unsigned long should = i == RSP ? saved_rsp : in.r[i];
				if (now->run == packed && i == R11) continue;
				if (own()->changes & BIT(i)) {
					if (!may_be(i, out.r[i])) complain(names[i], out.r[i], own()->value[i]);
				} else if (!(own()->before & BIT(i)) && out.r[i] != should) complain(names[i], out.r[i], should);
			}
			unsigned long arithmetic = now->run == chance ? 0x8d5 : 0;
			if ((out.flags ^ in.flags) & ~(0x300 | arithmetic)) complain("flags", out.flags, in.flags);
		}
		printf("%s: %s\n", now->name, wrong ? "wrong" : "right");
		fflush(stdout);
	}
	_exit(0);
}

int main(void) {
	const unsigned pair = BIT(RAX) | BIT(RDX), four = pair | BIT(RCX) | BIT(RBX);
	const struct own variants[] = {
		{{"time", time, SITE_OF(time)}, 2, pair, BIT(RAX), 0, {0}},
		{{"packed", packed, SITE_OF(packed)}, 2, pair, BIT(RAX), 0, {0}},
		{{"process", process, SITE_OF(process)}, 3, pair | BIT(RCX), BIT(RAX), 0, {0}},
		{{"identity", identity, SITE_OF(identity)}, 2, four, BIT(RAX) | BIT(RCX), 1, {0}},
		{{"state", state, SITE_OF(state)}, 3, pair, BIT(RAX) | BIT(RCX), 1, {0}},
		{{"old", old, SITE_OF(old)}, 2, BIT(RAX), BIT(RAX), 1, {0}},
		{{"chance", chance, SITE_OF(chance)}, 4, BIT(R12), BIT(RAX), 0, {0}},
		{{"base", base, SITE_OF(base)}, 5, BIT(R8), BIT(RAX), 1, {0}},
	};
	memcpy(all, variants, sizeof all);
	unsigned a = 0, b, c = 0, d;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	all[3].value[RAX] = a, all[3].value[RBX] = b, all[3].value[RCX] = c, all[3].value[RDX] = d;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	all[4].value[RAX] = a, all[4].value[RDX] = d;
	all[5].value[RAX] = getpid(); /* the child's parent */
	pid_t child = fork();
	if (child == 0) traced();
	return step_all(child, offset_time - 2);
}
