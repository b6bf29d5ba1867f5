// build: gcc -O1 -pthread
// On kernels before 6.17 the range of system calls that become signals can only be given by what is left out. A filter
// makes this one of these.
// patched: libc.so.6 400
// log: calls from there are caught
// only: ladder hook-run hook-after hook-record
#include "written.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

static code_t code;
static void *caller(void *arg) {
	(void)arg;
	long wrong = 0;
	for (int i = 0; i < 1000; i++) wrong += code() != getpid();
	return (void *)wrong;
}
static volatile int signals;
static void handler(int number) { signals += number == SIGUSR1 && code() == getpid(); }

int main(int argc, char **argv) {
	if (argc == 1) {
		/* prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_INCLUSIVE_ON, …) = -EINVAL */
		struct sock_filter filter[] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 4),
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 59, 0, 2),
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 2, 1, 0),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		};
		struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) SAY("no filter: %m\n");
		execl("/proc/self/exe", argv[0], "again", NULL);
		return 1;
	}
	SAY("inclusive: %d\n", prctl(59, 2, 1, 1, 0));
	/* Below all that is mapped, and where it falls. */
	unsigned char *low = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	unsigned char *some = writable_code(4096);
	put_number(low, SYS_getpid), put_number(some, SYS_getpid);
	SAY("calls %d %d\n", ((code_t)low)() == getpid(), ((code_t)some)() == getpid());
	struct sigaction action = {.sa_handler = handler};
	sigfillset(&action.sa_mask), sigaction(SIGUSR1, &action, NULL);
	for (int way = 0; way < 2; way++) {
		code = (code_t)(way ? some : low);
		pthread_t threads[3];
		long wrong = 0;
		for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, caller, NULL);
		for (int i = 0; i < 3; i++) {
			void *bad;
			pthread_join(threads[i], &bad), wrong += (long)bad;
		}
		raise(SIGUSR1);
		pid_t pid = fork();
		if (!pid) _exit(code() == getpid());
		wait_for("fork", pid);
		SAY("wrong %ld, signals %d\n", wrong, signals);
	}
	return 0;
}
