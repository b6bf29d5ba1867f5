// build: gcc -O1 -pthread
// A program that makes calls in memory which it may go on writing to, and also has system calls become signals by its
// own wish: by a filter, by dispatch, before such memory comes or after.
// patched: libc.so.6 400
// log: calls from there are caught
// only: ladder hook-run hook-after hook-record
// hook: after run
#include "written.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <ucontext.h>
#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif
enum { OFF, OUTSIDE, INSIDE };
static unsigned char *page;
static code_t pid_of, parent_of;
static volatile int caught, codes, wrong;
static void *volatile called;

static void handler(int number, siginfo_t *info, void *arg) {
	ucontext_t *context = arg;
	caught++, codes |= 1 << info->si_code;
	called = info->si_call_addr;
	if (number != SIGSYS || (void *)context->uc_mcontext.gregs[REG_RIP] != info->si_call_addr || info->si_syscall != context->uc_mcontext.gregs[REG_RAX]) wrong++;
	context->uc_mcontext.gregs[REG_RAX] = 4242;
}
static void say(const char *what) {
	SAY("%s: caught %d, codes %x, wrong %d\n", what, caught, codes, wrong);
	caught = codes = wrong = 0;
}
static void take(void) {
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	sigaction(SIGSYS, &action, NULL);
}
static void memory(void) {
	if (page) return;
	page = writable_code(4096);
	pid_of = put_number(page, SYS_getpid), parent_of = put_number(page + 64, SYS_getppid);
	SAY("calls %d\n", pid_of() == getpid());
}
/* getppid is a signal. */
static void filter(void) {
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) SAY("no filter: %m\n");
}
/* Both calls go on to be made in memory, and by libc. */
static void filtered(void) {
	SAY("made: %d %d\n", pid_of() == getpid(), getpid() > 0);
	SAY("there: %ld", parent_of()), SAY(", %d", called == page + 64 + 7);
	SAY(", by libc %ld\n", syscall(SYS_getppid));
	say("filtered");
}
static volatile int quit;
static void *busy(void *arg) {
	(void)arg;
	long bad = 0;
	int sites = 1;
	for (int i = 0; !quit || i < 2000; i++) {
		if (quit) sites = 300;
		bad += ((code_t)(page + 128 + 8 * (i % sites)))() != getpid();
	}
	return (void *)bad;
}

static void scene(int number) {
	pthread_t thread;
	void *bad;
	switch (number) {
	case 0: take(), filter(), memory(), filtered(); break;
	case 1: memory(), take(), filter(), filtered(); break;
	case 2: /* other threads are caught still, and are not filtered */
		memory(), take();
		for (int i = 0; i < 300; i++) put_number(page + 128 + 8 * i, SYS_getpid);
		pthread_create(&thread, NULL, busy, NULL);
		usleep(2000), filter(), filtered();
		quit = 1, pthread_join(thread, &bad);
		SAY("thread: %ld bad\n", (long)bad), say("then");
		break;
	case 3: /* dispatch of the same calls, by the program */
		memory(), take();
		SAY("off %d, odd %d\n", prctl(PR_SET_SYSCALL_USER_DISPATCH, OFF, 0, 0, 0), prctl(PR_SET_SYSCALL_USER_DISPATCH, OFF, 1, 0, 0));
		SAY("calls %d\n", pid_of() == getpid());
		SAY("on %d\n", prctl(PR_SET_SYSCALL_USER_DISPATCH, INSIDE, page, 4096, 0));
		SAY("there: %ld", pid_of()), SAY(", %d, by libc %d\n", called == page + 7, getpid() == syscall(SYS_gettid));
		SAY("off %d\n", prctl(PR_SET_SYSCALL_USER_DISPATCH, OFF, 0, 0, 0));
		SAY("calls %d\n", pid_of() == getpid()), say("dispatched");
		break;
	case 4: { /* of all, when a byte says so, before such memory comes */
		static char selector;
		take();
		SAY("on %d\n", prctl(PR_SET_SYSCALL_USER_DISPATCH, OUTSIDE, 0, 0, &selector));
		memory();
		SAY("calls %d\n", pid_of() == getpid());
		break;
	}
	}
}
int main(void) {
	for (int number = 0; number < 5; number++) {
		SAY("scene %d\n", number);
		pid_t pid = fork();
		if (!pid) alarm(10), scene(number), exit(0);
		wait_for("ends", pid);
	}
	return 0;
}
