// build: gcc -O1
// Under a filter that kills for every other call, and in strict mode, handlers run while calls are made: nothing that
// stands for the program makes a call that the program has not made.
// hook: reads_all
// hook: slow
// hook: after_arguments run
// hook: hears
// timeout: 60
// patched: libc.so.6 400
#include "guest.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <ucontext.h>

static volatile long ticks, wrong, depth, nested;
static int expected = SIGALRM;
static volatile long *done; /* shared with the parent: handlers that are over and left, and whether they can begin */
static void tick(int number, siginfo_t *info, void *context) {
	if (number != expected || info->si_signo != expected || context == NULL) wrong++;
	if (raw3(SYS_read, -1, 0, 0) != -EBADF) wrong++;
	if (depth++) nested++;
	for (int i = 0; i < 10; i++) raw3(SYS_write, -1, 0, 0);
	depth--;
	ticks++;
}
static unsigned char stack[65536];

static void filter(void) {
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) _exit(20);
}

/* Two queued signals on their way at the most, so that handlers interrupt each other, and no more than that. */
static void send(pid_t pid) {
	long sent = 0;
	while (sent < 400) {
		siginfo_t over = {0};
		if (waitid(P_PID, pid, &over, WEXITED | WNOHANG | WNOWAIT) || over.si_pid) return;
		if (!__atomic_load_n(done + 1, __ATOMIC_SEQ_CST) || sent - __atomic_load_n(done, __ATOMIC_SEQ_CST) >= 2) continue;
		union sigval value = {0};
		sigqueue(pid, SIGRTMIN, value);
		sent++;
	}
}

int main(void) {
	done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int way = 0; way < 8; way++) {
		done[0] = done[1] = 0;
		pid_t pid = fork();
		if (pid) {
			char name[] = "way 0";
			name[4] += way;
			if (way & 4) send(pid);
			wait_for(name, pid);
			continue;
		}
		struct sigaction action = {.sa_sigaction = tick, .sa_flags = SA_SIGINFO | SA_RESTART};
		if (way & 2) {
			stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
			sigaltstack(&alternate, NULL);
			action.sa_flags |= SA_ONSTACK;
		}
		if (way & 4) {
			action.sa_flags |= SA_NODEFER;
			expected = SIGRTMIN;
		}
		sigaction(expected, &action, NULL);
		struct itimerval fast = {{0, 300}, {0, 300}};
		if (expected == SIGALRM) setitimer(ITIMER_REAL, &fast, NULL);
		__atomic_store_n(done + 1, 1, __ATOMIC_SEQ_CST);
		if (way & 1) filter();
		else prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
		/* Vector registers hold something too. */
		double x = 1, y = 1;
		for (long i = 0; ticks < 300; i++) {
			if (raw3(SYS_read, -1, i, 0) != -EBADF) wrong++;
			if (raw3(SYS_write, -1, i, 0) != -EBADF) wrong++;
			x += 0.5, y += 0.5;
			__atomic_store_n(done, ticks, __ATOMIC_SEQ_CST);
			if (x != y) wrong++;
		}
		raw3(SYS_exit, wrong ? 9 : 3, 0, 0);
	}
	return 0;
}
