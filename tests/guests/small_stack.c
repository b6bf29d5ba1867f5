// build: gcc -O1 -pthread
// hook: hears
// A handler on an alternate stack that has just as much room as 4 KB leave on a processor with AVX-512: nothing of ours
// takes more of it than is there.
// patched: libc.so.6 400
#include "guest.h"
#include <sys/auxv.h>
#include <ucontext.h>

/* What the kernel's frame leaves of 4096 bytes where all vector registers up to zmm31 are saved. */
#define ROOM (4096 - 3632)
#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

static volatile int count;
static char *bottom;
static size_t size;
static void handler(int number, siginfo_t *info, void *context) {
	char here;
	count += number == SIGUSR1 && info->si_signo == SIGUSR1 && &here > bottom && &here < bottom + size && context != NULL;
}

int main(void) {
	size = getauxval(AT_MINSIGSTKSZ) + ROOM;
	/* The kernel wants a stack of 2 KB at least: what is more faults. */
	char *memory = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(memory, 8192, PROT_NONE);
	bottom = memory + 8192;
	stack_t stack = {.ss_sp = bottom + size - 4096, .ss_size = 4096};
	if (sigaltstack(&stack, NULL)) SAY("sigaltstack: %m\n");
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 100; i++) raise(SIGUSR1);
	SAY("raised: %d\n", count);
	int fds[2];
	char byte;
	if (pipe(fds)) return 1;
	for (int i = 0; i < 20; i++) {
		interrupt(SIGUSR1, SYS_read);
		if (read(fds[0], &byte, 1) != -1 || errno != EINTR) SAY("read\n");
	}
	SAY("in a call: %d\n", count);
	struct itimerval fast = {{0, 200}, {0, 200}}, off = {{0, 0}, {0, 0}};
	action.sa_flags |= SA_RESTART;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &fast, NULL);
	for (int i = 0; i < 300000; i++)
		if (raw3(SYS_lseek, -1, i, 0) != -EBADF) SAY("lseek\n");
	setitimer(ITIMER_REAL, &off, NULL);
	SAY("anywhere\n");
	return 0;
}
