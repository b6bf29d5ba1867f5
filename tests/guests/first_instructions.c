// build: gcc -O1 -pthread
// A signal arrives in the first instructions of a new thread or process, one after the other: its handler makes calls,
// and the child then does all it would have done.
// only: ladder hook-run hook-run_arguments hook-after hook-after_arguments hook-run_reads hook-after_reads hook-record
// hook: run record
// timeout: 60
// patched: libc.so.6 400
#include "guest.h"
#include <sys/ptrace.h>
#include <sys/user.h>
#include <stddef.h>

/* Births of each kind. Up to which instruction they come: each of the first, some of those that follow. */
#define BIRTHS 80
#define STEPS(n) ((n) < 50 ? (n) : 50 + ((n) - 50) * 6)

static char stack[65536] __attribute__((aligned(16)));
static volatile int handled, ended;
static volatile pid_t child_tid;
static void handler(int number) {
	/* The calls of a handler in a child that has no hook stack of its own yet would meet its parent's. */
	for (int i = 0; i < 3; i++)
		if (raw3(SYS_lseek, -1, i, 0) != -EBADF) return;
	handled += number == SIGUSR1;
}
/* What a child does, until the signal has arrived and some more. */
static int body(void *arg) {
	long wrong = 0;
	for (int i = 0; i < 20 || !handled; i++) wrong += raw3(SYS_lseek, -1, i, 0) != -EBADF;
	ended += wrong == 0;
	(void)arg;
	return handled == 1 ? 0 : 9;
}

/* What the tracer sends a signal to: a thread, a process with its own memory, one with its parent's. */
static void traced(void) {
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGSTOP);
	int bad = 0;
	for (int i = 0; i < BIRTHS; i++) {
		handled = 0;
		child_tid = 1;
		clone(body, stack + sizeof stack,
		      CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_SYSVSEM | CLONE_THREAD | CLONE_CHILD_CLEARTID, NULL, NULL, NULL, (void *)&child_tid);
		/* Busy, in hooks of its own. */
		while (child_tid) raw3(SYS_getppid, 0, 0, 0);
		bad += handled != 1;
	}
	SAY("threads: %d good, %d bad\n", ended, bad);
	for (int way = 0; way < 3; way++) {
		bad = 0;
		for (int i = 0; i < BIRTHS; i++) {
			handled = 0;
			pid_t pid = way == 0 ? fork() : way == 1 ? vfork() : clone(body, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);
			if (pid == 0) _exit(body(NULL));
			int status = -1;
			while (waitpid(pid, &status, 0) == -1 && errno == EINTR) continue;
			bad += status != 0;
		}
		SAY("way %d: %d bad\n", way, bad);
	}
	_exit(0);
}

int main(void) {
	pid_t child = fork();
	if (child == 0) traced();
	int status, births = 0;
	waitpid(child, &status, 0);
	ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_EXITKILL);
	ptrace(PTRACE_CONT, child, 0, 0);
	for (;;) {
		pid_t who = waitpid(-1, &status, __WALL);
		if (who < 0) break;
		if (!WIFSTOPPED(status)) {
			if (who == child) {
				show_status("all", status);
				break;
			}
			continue;
		}
		if (who != child && WSTOPSIG(status) == SIGSTOP) {
			/* Newborn. */
			int n = births++ % BIRTHS, steps = STEPS(n), gone = 0;
			for (int i = 0; i < steps && !gone; i++) {
				ptrace(PTRACE_SINGLESTEP, who, 0, 0);
				gone = waitpid(who, &status, __WALL) != who || !WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP;
			}
			if (gone) {
				SAY("gone after %d of %d: %x\n", births, steps, status);
				continue;
			}
			ptrace(PTRACE_CONT, who, 0, SIGUSR1);
			continue;
		}
		int number = WSTOPSIG(status);
		if (number == SIGTRAP && status >> 16 == 0) {
			/* The flag that we step with was saved and restored. */
			struct user_regs_struct regs;
			ptrace(PTRACE_GETREGS, who, 0, &regs);
			regs.eflags &= ~0x100;
			ptrace(PTRACE_SETREGS, who, 0, &regs);
		}
		if (number == SIGTRAP || number == SIGSTOP) number = 0;
		ptrace(PTRACE_CONT, who, 0, number);
	}
	SAY("births %d\n", births);
	return 0;
}
