/* A tracer that sends a signal before each single instruction of a variant's way, once each: see `step_all`. */
#define _GNU_SOURCE
#include "frame.h"
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <ucontext.h>

extern char __executable_start[], etext[], mark_begin[], mark_end[];
void begin(void);
void end(void);
__asm__(".text\nbegin: int3\nmark_begin: ret\nend: int3\nmark_end: ret\n");

struct variant {
	const char *name;
	void (*run)(void);
	const char *site;
};
static const struct variant *volatile now;
static volatile long over, missed;
static volatile int arrived;

/* Stops the child at an address, which is not written to; 0: no more. */
static void stop_at(pid_t child, const void *at) {
	ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[0]), at);
	ptrace(PTRACE_POKEUSER, child, offsetof(struct user, u_debugreg[7]), at ? 1 : 0);
}

/* A fault of code that is not the program's: whose it is knows what to do. */
static int is_ours(int status, unsigned long rip) {
	return WSTOPSIG(status) == SIGSEGV && (rip < (unsigned long)__executable_start || rip >= (unsigned long)etext);
}

/* Lets the child go on to its next mark, and answers whether it is the one that begins. */
static int next_mark(pid_t child, long deliver) {
	for (;;) {
		int status;
		struct user_regs_struct regs;
		ptrace(PTRACE_CONT, child, 0, deliver);
		if (waitpid(child, &status, 0) != child || WIFEXITED(status) || WIFSIGNALED(status)) {
			if (!WIFEXITED(status) || WEXITSTATUS(status)) printf("ended: %x\n", status);
			exit(0);
		}
		ptrace(PTRACE_GETREGS, child, 0, &regs);
		deliver = 0;
		if (WSTOPSIG(status) != SIGTRAP) {
			deliver = WSTOPSIG(status);
			if (deliver != SIGCHLD && deliver != SIGUSR1 && !is_ours(status, regs.rip)) printf("signal %ld at %llx\n", deliver, regs.rip);
		} else if (regs.rip == (unsigned long)mark_begin) return 1;
		else if (regs.rip == (unsigned long)mark_end) return 0;
		else {
			/* The flag that we step with was saved and restored. */
			regs.eflags &= ~0x100;
			ptrace(PTRACE_SETREGS, child, 0, &regs);
		}
	}
}

static int at_end;

/* Runs to an address; answers whether it came there before the end. */
static int run_to(pid_t child, unsigned long at) {
	stop_at(child, (void *)at);
	for (long deliver = 0;;) {
		int status;
		ptrace(PTRACE_CONT, child, 0, deliver);
		if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) exit(7);
		unsigned long rip = ptrace(PTRACE_PEEKUSER, child, offsetof(struct user, regs.rip), 0);
		deliver = is_ours(status, rip) ? SIGSEGV : 0;
		if (deliver) continue;
		if (rip == at || rip == (unsigned long)mark_end) {
			stop_at(child, NULL);
			at_end = rip != at;
			return rip == at;
		}
	}
}

static unsigned long step_once(pid_t child) {
	for (long deliver = 0;;) {
		int status;
		ptrace(PTRACE_SINGLESTEP, child, 0, deliver);
		if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) exit(8);
		unsigned long rip = ptrace(PTRACE_PEEKUSER, child, offsetof(struct user, regs.rip), 0);
		deliver = is_ours(status, rip) ? SIGSEGV : 0;
		if (deliver) continue;
		if (WSTOPSIG(status) == SIGTRAP || WSTOPSIG(status) == SIGCHLD) return rip;
		printf("signal %d while stepping\n", WSTOPSIG(status));
		exit(9);
	}
}

/* What the child does between `begin` and `end`, as `now` says, is traced and taken again for each of its instructions, until `over`.
 * `load`: how many bytes of a variant come before its own first instruction. */
static int step_all(pid_t child, int load) {
	int status;
	while (waitpid(child, &status, 0) == child && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSEGV) ptrace(PTRACE_CONT, child, 0, SIGSEGV);
	if (!WIFSTOPPED(status)) return 1;
	for (;;) {
		static unsigned long way[20000];
		int len = 0, lost = 0;
		if (!next_mark(child, 0)) return 2;
		const struct variant *is = (void *)ptrace(PTRACE_PEEKDATA, child, &now, 0);
		unsigned long site = (unsigned long)is->site;
		/* Its way, from the variant's own first instruction to far behind the site, where all is written down. */
		way[0] = (unsigned long)is->run + load;
		run_to(child, way[0]);
		while (!(way[len] > site + 24 && way[len] < site + 400)) {
			if (++len == 20000) return 3;
			way[len] = step_once(child);
		}
		if (next_mark(child, 0)) return 4;
		for (int i = 0; i < len; i++) {
			if (!next_mark(child, 0)) return 5;
			if (i == len - 1) ptrace(PTRACE_POKEDATA, child, &over, 1);
			int first = 0;
			while (way[first] != way[i]) first++;
			int there = run_to(child, way[first]);
			for (; there && first < i; first++) there = step_once(child) == way[first + 1];
			if (!there && ++lost) ptrace(PTRACE_POKEDATA, child, &missed, 1);
			if (at_end) at_end = 0;
			else if (next_mark(child, there ? SIGUSR1 : 0)) return 6;
		}
		if (lost > len / 10 + 5) printf("%d of %d steps were not met again\n", lost, len);
	}
}
