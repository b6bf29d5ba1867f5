/*
 * Runs the random programs that it is linked with from random states and prints what is left of each: registers, flags,
 * vectors, memory, and what each signal's handler has been shown on the way.
 *
 * Each program goes as it is, then with the trap flag set, when a handler sees its state before every instruction, and then
 * while a timer's signals come at any moment. `runs states` leaves out at which addresses handlers have been called: with one
 * tactic alone they are shown trampolines.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

typedef uint64_t u64;
struct state {
	u64 general[16], flags, pad[3], vector[16][4];
};
static struct state state __attribute__((aligned(64), used));
static u64 entry __attribute__((used)), kept_rsp __attribute__((used)), kept_rax __attribute__((used));
static long has_avx __attribute__((used));

#define STACK 0x600000000000ul
#define STACK_LEN 4096
#define TOP (STACK + STACK_LEN - 256)
#define DATA_LEN 4096
#define TRAP 0x100ul

/* Calls `entry` with the registers of `state`, and keeps there those that it leaves. */
void go(void);
__asm__(".text\n.globl go\n.type go, @function\ngo:\n"
	"push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"mov %rsp, kept_rsp(%rip)\n"
	"lea state(%rip), %rdi\n"
	"cmpq $0, has_avx(%rip)\n je 2f\n"
	".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n vmovups 160+32*\\n(%rdi), %ymm\\n\n .endr\n"
	"2: mov 32(%rdi), %rsp\n"
	"push 128(%rdi)\n"
	"mov (%rdi), %rax; mov 8(%rdi), %rcx; mov 16(%rdi), %rdx; mov 24(%rdi), %rbx\n"
	"mov 40(%rdi), %rbp; mov 48(%rdi), %rsi\n"
	"mov 64(%rdi), %r8; mov 72(%rdi), %r9; mov 80(%rdi), %r10; mov 88(%rdi), %r11\n"
	"mov 96(%rdi), %r12; mov 104(%rdi), %r13; mov 112(%rdi), %r14; mov 120(%rdi), %r15\n"
	"mov 56(%rdi), %rdi\n"
	"popfq\n"
	"call *entry(%rip)\n"
	"mov %rax, kept_rax(%rip)\n"
	"lea state(%rip), %rax\n"
	"mov %rcx, 8(%rax)\n"
	"pushfq; pop %rcx; mov %rcx, 128(%rax)\n"
	"push $2; popfq\n"
	"mov kept_rax(%rip), %rcx; mov %rcx, (%rax)\n"
	"mov %rdx, 16(%rax); mov %rbx, 24(%rax); mov %rsp, 32(%rax); mov %rbp, 40(%rax)\n"
	"mov %rsi, 48(%rax); mov %rdi, 56(%rax); mov %r8, 64(%rax); mov %r9, 72(%rax)\n"
	"mov %r10, 80(%rax); mov %r11, 88(%rax); mov %r12, 96(%rax); mov %r13, 104(%rax)\n"
	"mov %r14, 112(%rax); mov %r15, 120(%rax)\n"
	"cmpq $0, has_avx(%rip)\n je 3f\n"
	".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n vmovups %ymm\\n, 160+32*\\n(%rax)\n .endr\n"
	"vzeroupper\n"
	"3: mov kept_rsp(%rip), %rsp\n"
	"pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n ret\n"
	".size go, .-go\n");

/* rt_sigaction from a site that each tactic reaches alone: were it not patched, handlers would be shown trampolines. */
long act(int number, const void *new, void *old, long size);
__asm__(".text\n.skip 32, 0xcc\n.globl act\n.type act, @function\nact: mov %rcx, %r10\n"
	"mov $0x11111111, %r8d\n mov $0x22222222, %r9d\n mov $0x33333333, %ecx\n"
	"mov $13, %eax\n syscall\n .byte 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0\n .byte 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0\n ret\n"
	".size act, .-act\n.skip 32, 0xcc\n"
	".type back, @function\nback: mov $15, %rax\n syscall\n.size back, .-back\n");
void back(void);

static void handle(int number, void (*handler)(int, siginfo_t *, void *)) {
	const struct {
		void (*handler)(int, siginfo_t *, void *);
		u64 flags;
		void (*restorer)(void);
		u64 mask;
	} new = {handler, SA_SIGINFO | SA_ONSTACK | 0x04000000, back, 1ul << (SIGALRM - 1)};
	if (act(number, &new, 0, 8)) exit(3);
}

static u64 seed;
static u64 word(void) { /* splitmix64 */
	u64 z = seed += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}
static u64 hash(u64 from, const void *bytes, size_t len) { /* FNV-1a */
	for (size_t i = 0; i < len; i++) from = (from ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3;
	return from;
}

/* What a handler has been shown. */
struct seen {
	u64 rip, general[16], flags;
};
/* A program, as its list has it: its code, where it is entered, its data, what its states are drawn from, and for each byte
 * of its code a 1 if an instruction begins there, a 2 if that stands behind a `syscall`, a 4 if it does
 * nothing. */
static const struct program {
	u64 start, end, entry;
	unsigned char *data;
	u64 seed;
	const char *marks;
} *now;
extern const struct program programs[], programs_end[];
static struct seen way[4096], last;
static volatile int steps, faults, strange;
static u64 faults_hash;
static int is_told, has_addresses;

static const int of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
			   REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static void read_state(struct seen *seen, const greg_t *g) {
	seen->rip = g[REG_RIP] - now->start;
	for (int i = 0; i < 16; i++) seen->general[i] = g[of[i]];
	seen->flags = g[REG_EFL] & 0xcd5;
}

static void tell(const char *what, const struct seen *seen) {
	printf("  %s +%lx:", what, seen->rip);
	for (int i = 0; i < 16; i++) printf(" %lx", seen->general[i]);
	printf(" %lx\n", seen->flags);
}

static void handler(int number, siginfo_t *info, void *context) {
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	u64 rip = g[REG_RIP];
	int is_inside = rip >= now->start && rip < now->end;
	struct seen seen;
	if (number == SIGALRM) {
		/* Below the libraries are programs, this code, and trampolines. */
		extern char __executable_start[], etext[];
		int is_ours = rip >= 1ul << 33 || (rip >= (u64)__executable_start && rip < (u64)etext);
		if (!has_addresses) return;
		u64 rsp = g[REG_RSP];
		int is_right = is_inside ? now->marks[rip - now->start] & 1 && rsp <= TOP && rsp >= TOP - 32 : is_ours;
		if (!is_right && !strange++ && is_told) {
			printf("  strange: rip %lx, rsp %lx:", rip, rsp);
			for (int i = -32; i < 16; i++) printf(" %02x", ((unsigned char *)rip)[i]);
			printf("\n");
		}
		return;
	}
	if (number == SIGTRAP && info->si_code == TRAP_TRACE) {
		/* Natively nothing is seen right behind a call; a jump may lie over padding. */
		if (!is_inside || now->marks[rip - now->start] & 6) return;
		read_state(&seen, g);
		/* A jump that a patch has put there is a step, too. */
		if (memcmp(&last, &seen, sizeof seen) == 0) return;
		last = seen;
		if (steps == sizeof way / sizeof *way) _exit(9);
		way[steps++] = seen;
		return;
	}
	if ((has_addresses && !is_inside) || ++faults > 100) {
		static char words[100];
		write(1, words, snprintf(words, sizeof words, "signal %d at %lx, for %lx\n", number, rip, (u64)info->si_addr));
		_exit(8);
	}
	read_state(&seen, g);
	if (is_told) tell(number == SIGILL ? "ud2" : number == SIGTRAP ? "int3" : "mov", &seen);
	u64 where = number == SIGILL ? (u64)info->si_addr - now->start : (u64)info->si_addr;
	if (!has_addresses) seen.rip = where = 0;
	faults_hash = hash(faults_hash, &seen, sizeof seen);
	faults_hash = hash(faults_hash, (int[]){number, info->si_code}, 8);
	faults_hash = hash(faults_hash, &where, 8);
	g[REG_RIP] += number == SIGILL ? 2 : number == SIGTRAP ? 0 : 8;
	read_state(&last, g);
}

static struct state drawn;

static void run(u64 trap) {
	memset((void *)STACK, 0x5a, STACK_LEN);
	memset(now->data, 0x33, DATA_LEN);
	*(unsigned *)now->data = 6;
	faults = 0, faults_hash = 0;
	state = drawn;
	state.flags |= trap;
	go();
	state.flags &= ~TRAP;
}

static u64 left(void) {
	u64 all = hash(0xcbf29ce484222325, &state, sizeof state);
	all = hash(all, now->data, DATA_LEN);
	return hash(all, (void *)(TOP - 128), STACK + STACK_LEN - TOP + 128);
}

static void state_of(int number) {
	for (int i = 0; i < 16; i++) drawn.general[i] = word();
	for (int i = 0; i < 16; i++)
		if ((word() & 3) == 0) drawn.general[i] &= 15;
	drawn.general[4] = TOP;
	drawn.flags = (word() & 0xcd5) | 0x202;
	for (int i = 0; i < 64; i++) drawn.vector[i / 4][i % 4] = word();
	run(0);
	u64 first = left();
	printf(" %d:", number);
	for (int i = 0; i < 16; i++) printf(" %lx", state.general[i]);
	printf(" %lx, all %016lx, %d faults %016lx\n", state.flags, first, faults, faults_hash);
	if (number > 1) return;
	steps = 0;
	memset(&last, 0, sizeof last);
	run(TRAP);
	u64 all = 0;
	for (int i = 0; i < steps; i++) {
		if (is_told) tell("step", &way[i]);
		all = hash(all, &way[i], sizeof *way);
	}
	if (!has_addresses) steps = 0, all = 0;
	printf("    %d steps %016lx, %d faults %016lx, all %016lx\n", steps, all, faults, faults_hash, left());
	strange = 0;
	for (int i = 0; i < 10; i++) {
		/* One at a time: on a busy machine there would be the next before the handler returns, for ever. */
		setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 1 + 2 * i}}, NULL);
		run(0);
		if (left() != first) strange++;
	}
	setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
	if (strange) printf("    %d strange\n", strange);
}

int main(int count, char **words) {
	/* What hangs ends, and what waits for a busy machine does not. */
	setrlimit(RLIMIT_CPU, &(struct rlimit){10, 10});
	has_addresses = count < 2 || strcmp(words[1], "states");
	static char own[1 << 16];
	sigaltstack(&(stack_t){.ss_sp = own, .ss_size = sizeof own}, NULL);
	const int all[] = {SIGTRAP, SIGILL, SIGSEGV, SIGBUS, SIGFPE, SIGALRM};
	for (int i = 0; i < 6; i++) handle(all[i], handler);
	if (mmap((void *)STACK, STACK_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != (void *)STACK) return 2;
	has_avx = __builtin_cpu_supports("avx");
	is_told = getenv("TELL") != NULL;
	static char buffer[1 << 20];
	setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
	for (now = programs; now < programs_end; now++) {
		printf("%lu\n", now->seed);
		/* What comes next may end the process. */
		fflush(stdout);
		seed = now->seed;
		entry = now->entry;
		for (int i = 0; i < 4; i++) state_of(i);
	}
	return 0;
}
