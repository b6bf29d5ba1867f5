// build: gcc -O1 -pthread
// Handlers on an alternate stack make calls while other signals arrive that use it too: what lies on it stays.
// only: ladder hook-run hook-run_arguments hook-after hook-after_arguments hook-run_reads hook-after_reads
// hook: record
// hook: reads_all
// hook: slow
// hook: hears
// patched: libc.so.6 400
#include "guest.h"

static volatile int inner, outer, wrong;
static char stack[65536] __attribute__((aligned(16)));
static void second(int number) {
	char here;
	if (&here < stack || &here > stack + sizeof stack) wrong++;
	raw3(SYS_getppid, 0, 0, 0);
	inner += number == SIGALRM;
}
static void first(int number, siginfo_t *info, void *context) {
	(void)context;
	volatile unsigned long data[64];
	for (int i = 0; i < 64; i++) data[i] = i * 0x0101010101010101ul;
	siginfo_t before = *info;
	for (int i = 0; i < 2000; i++) raw3(SYS_getppid, 0, 0, 0);
	for (int i = 0; i < 64; i++)
		if (data[i] != i * 0x0101010101010101ul) wrong++;
	if (memcmp(&before, info, sizeof before)) wrong++;
	stack_t now;
	sigaltstack(NULL, &now);
	if (now.ss_flags != SS_ONSTACK || now.ss_sp != stack) wrong++;
	outer += number == SIGUSR1;
}

int main(void) {
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
	sigaltstack(&alternate, NULL);
	struct sigaction a = {.sa_sigaction = first, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	sigaction(SIGUSR1, &a, NULL);
	struct sigaction b = {.sa_handler = second, .sa_flags = SA_ONSTACK | SA_RESTART};
	sigaction(SIGALRM, &b, NULL);
	struct itimerval fast = {{0, 150}, {0, 150}}, off = {{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &fast, NULL);
	int raised = 0;
	for (; raised < 300 || inner <= 50; raised++) raise(SIGUSR1);
	setitimer(ITIMER_REAL, &off, NULL);
	SAY("outer ran %d, wrong %d\n", outer == raised, wrong);
	return 0;
}
