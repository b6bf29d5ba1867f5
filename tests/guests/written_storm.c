// build: gcc -O1 -pthread
// Many at once: threads begin and end, processes fork, signals arrive in every instruction, memory that is written to
// and run comes and goes, all of it with calls that become signals. HOTPATCH_LOOPS says how often.
// patched: libc.so.6 400
// log: calls from there are caught
// only: ladder hook-run hook-after
// timeout: 600
#include "written.h"
static code_t pid_of;
static call_t call;
static volatile int over;
static volatile long wrong, signals;
static void handler(int number, siginfo_t *info, void *context) {
	if (info->si_signo != number || !context) wrong++;
	if (call(SYS_getpid, 0, 0, 0, 0, 0, 0) != getpid()) wrong++;
	signals++;
}
static void *worker(void *arg) {
	unsigned char alternate[32768];
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate}, off = {.ss_flags = SS_DISABLE};
	if (arg) sigaltstack(&stack, NULL);
	sigset_t all, old;
	sigfillset(&all);
	long tid = call(SYS_gettid, 0, 0, 0, 0, 0, 0);
	for (int i = 0; i < 20; i++) {
		if (pid_of() != getpid()) wrong++;
		pthread_sigmask(SIG_SETMASK, &all, &old);
		if (call(SYS_gettid, 0, 0, 0, 0, 0, 0) != tid) wrong++;
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		call(SYS_tgkill, getpid(), tid, i & 1 ? SIGUSR1 : SIGUSR2, 0, 0, 0);
	}
	sigaltstack(&off, NULL);
	return NULL;
}
static void *mapper(void *arg) {
	(void)arg;
	while (!over) {
		unsigned char *page = writable_code(8192);
		code_t code = put_number(page + 128, SYS_getppid);
		if (code() != getppid()) wrong++;
		mprotect(page, 8192, PROT_READ | PROT_EXEC);
		if (code() != getppid()) wrong++;
		munmap(page, 8192);
		usleep(300);
	}
	return NULL;
}
static void *killer(void *arg) {
	(void)arg;
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	while (!over) kill(getpid(), SIGUSR2), usleep(150);
	return NULL;
}
int main(void) {
	const char *loops = getenv("HOTPATCH_LOOPS");
	int rounds = loops ? atoi(loops) : 40;
	unsigned char *page = writable_code(4096);
	pid_of = put_number(page, SYS_getpid), call = put_call(page + 64);
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
	sigfillset(&action.sa_mask), sigaction(SIGUSR1, &action, NULL);
	sigemptyset(&action.sa_mask), sigaction(SIGUSR2, &action, NULL);
	pthread_t others[2], threads[6];
	pthread_create(&others[0], NULL, mapper, NULL), pthread_create(&others[1], NULL, killer, NULL);
	long ended = 0;
	for (int round = 0; round < rounds; round++) {
		for (long i = 0; i < 6; i++) pthread_create(&threads[i], NULL, worker, (void *)(i & 1));
		pid_t pid = round & 1 ? fork() : (pid_t)call(SYS_fork, 0, 0, 0, 0, 0, 0);
		if (!pid) {
			for (int i = 0; i < 10; i++) if (pid_of() != getpid()) _exit(1);
			_exit(wrong ? 2 : 0);
		}
		int status;
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
		ended += status == 0;
		for (int i = 0; i < 6; i++) pthread_join(threads[i], NULL);
	}
	over = 1;
	for (int i = 0; i < 2; i++) pthread_join(others[i], NULL);
	SAY("wrong %ld, all ended %d, signals %d\n", wrong, ended == rounds, signals >= 6 * 20 * rounds);
	return 0;
}
