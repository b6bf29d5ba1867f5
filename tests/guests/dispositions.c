// build: gcc -O1
// What a program has set for its signals is what it reads, what its children get, and what an exec leaves of it.
// only: ladder hook-run hook-run_arguments hook-after hook-after_arguments hook-run_reads hook-after_reads hook-record
// patched: libc.so.6 400
#include "guest.h"
#include <spawn.h>
#include <ucontext.h>

struct kernel {
	void *handler;
	unsigned long flags;
	void *restorer;
	unsigned long mask;
};
static void one(int number) { (void)number; }
static void three(int number, siginfo_t *info, void *context) { (void)number, (void)info, (void)context; }
static long raw(long number, void *new, void *old, long size) {
	register long r10 __asm__("r10") = size;
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(SYS_rt_sigaction), "D"(number), "S"(new), "d"(old), "r"(r10)
			 : "rcx", "r11", "memory");
	return result;
}
static int differ(struct kernel a, struct kernel b) {
	return a.handler != b.handler || a.flags != b.flags || a.mask != b.mask || a.restorer != b.restorer;
}

int main(int argc, char **argv) {
	if (argc > 1) {
		/* After the exec. */
		char text[65] = "";
		for (int i = 1; i <= 64; i++) {
			struct kernel now;
			text[i - 1] = raw(i, NULL, &now, 8) ? 'x' : now.handler == SIG_DFL ? 'd' : now.handler == SIG_IGN ? 'i' : 'h';
		}
		SAY("after exec: %s\n", text);
		return 0;
	}
	struct kernel fresh;
	int strange = 0;
	for (int i = 1; i <= 31; i++) {
		raw(i, NULL, &fresh, 8);
		if (fresh.handler || fresh.flags || fresh.restorer || fresh.mask) strange++;
	}
	SAY("fresh: %d strange\n", strange);
	static char restorer[16];
	const unsigned long flags[] = {0, SA_SIGINFO, SA_ONSTACK | SA_RESTART, SA_NODEFER | SA_SIGINFO, 0x80000000, 0x80000004,
				       SA_NOCLDSTOP | SA_NOCLDWAIT, 0x04000000, 0x04000004, 0x84000000};
	void *handlers[] = {SIG_DFL, SIG_IGN, one, three, (void *)-1, (void *)0x1234};
	for (int number = 0; number <= 66; number++) {
		int bad = 0, failed = 0;
		for (unsigned h = 0; h < 6; h++)
			for (unsigned f = 0; f < sizeof flags / sizeof *flags; f++) {
				struct kernel set = {handlers[h], flags[f], flags[f] & 0x04000000 ? restorer : NULL, 0x12345678}, now = {0};
				long result = raw(number, &set, NULL, 8);
				if (result) {
					failed = result;
					continue;
				}
				raw(number, NULL, &now, 8);
				set.mask &= ~(1ul << 8 | 1ul << 18);
				bad += differ(set, now);
				struct kernel again = {handlers[(h + 1) % 6], 0x04000000, restorer, 0}, before = {0};
				raw(number, &again, &before, 8);
				bad += differ(set, before);
			}
		if (bad || failed) SAY("%d: failed %d, bad %d\n", number, failed, bad);
		struct kernel usual = {SIG_DFL, 0, NULL, 0};
		raw(number, &usual, NULL, 8);
	}
	struct kernel set = {one, 0x04000000, restorer, 0}, now;
	SAY("odd: %ld %ld %ld %ld %ld %ld\n", raw(10, &set, &now, 4), raw(10, &set, &now, 128), raw(10, (void *)8, &now, 8),
	    raw(10, &set, (void *)8, 8), raw(10, (void *)-1, NULL, 8), raw(100, NULL, (void *)8, 8));
	raw(10, NULL, &now, 8);
	SAY("set although it could not be answered: %d\n", now.handler == (void *)one);

	signal(SIGUSR1, one);
	signal(SIGUSR2, SIG_IGN);
	signal(SIGSEGV, SIG_IGN);
	signal(SIGFPE, SIG_DFL);
	signal(SIGBUS, one);
	pid_t child = fork();
	if (child == 0) {
		struct sigaction is;
		sigaction(SIGUSR1, NULL, &is);
		int good = is.sa_handler == one;
		sigaction(SIGSEGV, NULL, &is);
		_exit(good && is.sa_handler == SIG_IGN ? 5 : 6);
	}
	wait_for("fork", child);
	char *arguments[] = {argv[0], "after", NULL}, *environment[] = {NULL};
	extern char **environ;
	(void)environment;
	child = fork();
	if (child == 0) {
		execve(argv[0], arguments, environ);
		_exit(1);
	}
	wait_for("exec", child);
	posix_spawnattr_t attributes;
	posix_spawnattr_init(&attributes);
	sigset_t defaults;
	sigemptyset(&defaults), sigaddset(&defaults, SIGUSR2);
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
	if (posix_spawn(&child, argv[0], NULL, &attributes, arguments, environ)) return 1;
	wait_for("spawn", child);
	struct sigaction still;
	sigaction(SIGUSR1, NULL, &still);
	SAY("the parent's own: %d", still.sa_handler == one);
	sigaction(SIGBUS, NULL, &still);
	SAY(" %d\n", still.sa_handler == one);
	return 0;
}
