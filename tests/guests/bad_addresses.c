// build: gcc -O2 -pthread
// Calls get addresses where nothing is, whatever the program does with the signals of such faults: they answer EFAULT,
// and a hook that reads there before it meets no signal either.
// hook: reads_all
// hook: run reads_all after
// hook: reads_some
// patched: libc.so.6 400
#include "guest.h"
#include <spawn.h>

static int ends[2];
static char *edge; /* the last bytes before a page that is not there */
static int try_all(void) {
	static char *const bad[] = {(char *)1, (char *)-1, (char *)0x7ffffffff000, (char *)0xffff800000000000};
	int right = 0;
	for (unsigned n = 0; n < sizeof bad / sizeof *bad; n++)
		right += write(ends[1], bad[n], 8) == -1 && errno == EFAULT;
	right += open(edge, O_RDONLY) == -1 && errno == EFAULT;
	right += write(ends[1], edge, 4) == 4;
	char got[4];
	right += read(ends[0], got, 4) == 4 && !memcmp(got, edge, 4);
	return right;
}
static void show(const char *where) { SAY("%s: %d\n", where, try_all()); }

static volatile int handled;
static void handler(int number) {
	(void)number;
	handled += try_all();
}
static void set(int number, void (*to)(int), int flags, int fill) {
	struct sigaction action = {.sa_handler = to, .sa_flags = flags};
	if (fill) sigfillset(&action.sa_mask);
	sigaction(number, &action, NULL);
}
static void *thread(void *where) {
	show(where);
	sigset_t none;
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
	show(where);
	return NULL;
}
static void in_thread(const char *where) {
	pthread_t other;
	pthread_create(&other, NULL, thread, (void *)where);
	pthread_join(other, NULL);
}
static sigjmp_buf back;
static void jump(int number) {
	(void)number;
	handled += try_all();
	siglongjmp(back, 1);
}
static void jump_as_it_is(int number) {
	(void)number;
	handled += try_all();
	longjmp(back, 1);
}

int main(void) {
	if (pipe(ends)) return 1;
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(pages + 4096, 4096);
	edge = memset(pages + 4092, 'x', 4);
	show("as it is");

	sigset_t all, old, two;
	sigfillset(&all);
	sigemptyset(&two);
	sigaddset(&two, SIGSEGV), sigaddset(&two, SIGBUS);
	for (int round = 0; round < 3; round++) {
		sigprocmask(SIG_BLOCK, round ? &all : &two, &old);
		for (int n = 0; n < 80; n++)
			if (try_all() != 7) SAY("blocked: %d\n", n);
		in_thread("begun blocked");
		sigprocmask(SIG_SETMASK, &old, NULL);
		show("unblocked");
	}

	set(SIGUSR1, handler, 0, 1), raise(SIGUSR1), show("behind a handler that blocks all");
	set(SIGUSR1, handler, 0, 0), raise(SIGUSR1), show("behind a handler");
	set(SIGUSR1, jump, 0, 1);
	if (!sigsetjmp(back, 1)) raise(SIGUSR1);
	show("out of a handler");
	set(SIGUSR1, jump_as_it_is, 0, 1);
	if (!_setjmp(back)) raise(SIGUSR1);
	show("out of a handler, all blocked");
	sigprocmask(SIG_SETMASK, &old, NULL);

	/* A handler that runs with less blocked than where it returns to. */
	set(SIGUSR1, handler, 0, 0);
	sigprocmask(SIG_BLOCK, &all, &old);
	raise(SIGUSR1);
	sigset_t none;
	sigemptyset(&none);
	sigsuspend(&none);
	show("behind sigsuspend, all blocked");
	sigprocmask(SIG_SETMASK, &old, NULL);
	show("behind that");
	raise(SIGUSR1);
	struct pollfd nothing = {.fd = -1};
	sigprocmask(SIG_BLOCK, &all, &old);
	raise(SIGUSR1);
	ppoll(&nothing, 1, &(struct timespec){.tv_sec = 5}, &two);
	show("behind ppoll, all blocked");
	sigprocmask(SIG_SETMASK, &old, NULL);
	SAY("in handlers: %d\n", handled);

	pid_t child = fork();
	if (!child) {
		signal(SIGSEGV, SIG_IGN), signal(SIGBUS, SIG_IGN);
		show("ignored");
		in_thread("ignored in a thread");
		_exit(0);
	}
	wait_for("ignored", child);
	if (!(child = fork())) {
		set(SIGSEGV, handler, SA_RESETHAND, 0);
		raise(SIGSEGV);
		show("reset");
		raise(SIGSEGV);
		_exit(0);
	}
	wait_for("reset", child);
	if (!(child = fork())) {
		set(SIGSEGV, handler, 0, 1), handled = 0;
		raise(SIGSEGV), raise(SIGSEGV);
		SAY("own handler: %d\n", handled);
		show("own handler");
		*(volatile char *)1 = 0;
		_exit(handled != 14);
	}
	if (child > 0) {
		usleep(300000);
		kill(child, SIGKILL); /* its handler goes on for ever */
	}
	wait_for("own handler", child);
	if (!(child = vfork())) {
		int right = try_all();
		_exit(right);
	}
	wait_for("vfork", child);
	struct {
		uint64_t flags, rest[10];
	} clear = {.flags = 1ull << 32};
	clear.rest[3] = SIGCHLD;
	child = syscall(SYS_clone3, &clear, 88);
	if (!child) _exit(try_all());
	wait_for("handlers cleared", child);
	show("at the end");
	return 0;
}
