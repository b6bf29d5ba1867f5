// build: gcc -O1
// seccomp: strict, a filter that allows a few calls, one that answers with an errno, one that traps.
// site: site_raw = direct,stone,live-stone,before,clobber
// patched: libc.so.6 400
#include "guest.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

extern char site_raw[];
static __attribute__((noinline, noclone)) long raw(long number, long a, long b, long c) {
	long result;
	__asm__ volatile(".globl site_raw\nsite_raw: syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return result;
}
static void say(const char *text) { raw(SYS_write, 1, (long)text, strlen(text)); }

static void filter(unsigned other) {
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, other),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof code / sizeof *code, code};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) say("no filter\n");
}

static void trapped(int number, siginfo_t *info, void *context) {
	(void)context;
	say(number == SIGSYS && info->si_syscall == SYS_getppid && info->si_arch == AUDIT_ARCH_X86_64
		    ? "trapped, number and architecture right\n" : "trapped, wrong\n");
}

int main(void) {
	setvbuf(stdout, NULL, _IONBF, 0);
	for (int way = 0; way < 6; way++) {
		pid_t pid = fork();
		if (pid) {
			char name[] = "way 0";
			name[4] += way;
			wait_for(name, pid);
			continue;
		}
		switch (way) {
		case 0:
			prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
			say("strict\n");
			raw(SYS_exit, 3, 0, 0);
			break;
		case 1:
			prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
			raw(SYS_getppid, 0, 0, 0);
			break;
		case 2:
			filter(SECCOMP_RET_ERRNO | 99);
			say(raw(SYS_getppid, 0, 0, 0) == -99 ? "errno 99\n" : "other\n");
			say(getuid() == (uid_t)-1 && errno == 99 ? "errno 99\n" : "other\n");
			_exit(4);
		case 3:
			filter(SECCOMP_RET_KILL_PROCESS);
			say("a few\n");
			raw(SYS_getppid, 0, 0, 0);
			_exit(5);
		case 4: {
			struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
			sigaction(SIGSYS, &action, NULL);
			filter(SECCOMP_RET_TRAP);
			raw(SYS_getppid, 0, 0, 0);
			_exit(6);
		}
		case 5:
			filter(SECCOMP_RET_ERRNO | 1);
			execl("/bin/true", "true", NULL);
			_exit(errno);
		}
		_exit(100);
	}
	/* A child that execs under a filter of its own: the library starts in it with few calls allowed. */
	pid_t pid = fork();
	if (pid == 0) {
		struct sock_filter code[] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 42),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		};
		struct sock_fprog program = {4, code};
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
		execl("/bin/sh", "sh", "-c", "echo after exec", NULL);
		_exit(101);
	}
	wait_for("exec under a filter", pid);
	return 0;
}
