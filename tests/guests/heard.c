// build: gcc -O1 -pthread
// What a hook is told of signals: with tests/hooks/hears.c. Natively there is nothing to be seen.
// hook: hears
// patched: libc.so.6 400
#include "guest.h"

static int hooked;
static int fds[2];
enum { NONE, BEFORE, ENDED, AGAIN, AGAIN_UNSEEN, RETURNS = 8 };

static long counts[16];
/* How often that has been told since it was last asked. */
static long told(int what) {
	long now = syscall(1003, what), since = now - counts[what];
	counts[what] = now;
	return since;
}
#define CHECK(what, condition) SAY("%s %s\n", what, !hooked || (condition) ? "right" : "wrong")

static sigjmp_buf back;
static void nothing(int number) { (void)number; }
static void feed(int number) { (void)number; if (write(fds[1], "y", 1) != 1) abort(); }
static void jump(int number) { siglongjmp(back, number); }
static void install(int number, void (*what)(int), int flags) {
	struct sigaction action = {.sa_handler = what, .sa_flags = flags};
	sigaction(number, &action, NULL);
}

int main(void) {
	hooked = getenv("LIBHOTPATCH_HOOK") != NULL && strstr(getenv("LIBHOTPATCH_HOOK"), "hears");
	if (pipe(fds)) return 1;
	char byte;
	install(SIGUSR1, nothing, 0);
	for (int i = 0; i < 10; i++) raise(SIGUSR1);
	CHECK("behind a call", told(ENDED) == 10 && told(RETURNS + ENDED) == 10);
	interrupt(SIGUSR1, SYS_read);
	SAY("read %zd %s\n", read(fds[0], &byte, 1), strerror(errno));
	CHECK("a call that ends by that", told(ENDED) == 1 && told(RETURNS + ENDED) == 1);
	install(SIGUSR1, feed, SA_RESTART);
	interrupt(SIGUSR1, SYS_read);
	SAY("read %zd\n", read(fds[0], &byte, 1));
	CHECK("a call that is made again", told(AGAIN) == 1 && told(RETURNS + AGAIN) == 1);
	interrupt(SIGUSR1, SYS_read);
	/* Its number is not known to the site. */
	SAY("read %ld\n", syscall(SYS_read, fds[0], &byte, 1));
	CHECK("the same by any number", told(AGAIN) == 1 && told(RETURNS + AGAIN) == 1);
	install(SIGUSR1, jump, 0);
	if (sigsetjmp(back, 1) == 0) raise(SIGUSR1);
	CHECK("one that does not return", told(ENDED) == 1 && told(RETURNS + ENDED) == 0);
	install(SIGSEGV, jump, 0);
	if (sigsetjmp(back, 1) == 0) *(volatile char *)8 = 1;
	CHECK("a fault", told(NONE) == 1);
	install(SIGUSR1, nothing, 0);
	install(SIGUSR2, nothing, 0);
	sigset_t both, before;
	sigemptyset(&both);
	sigaddset(&both, SIGUSR1);
	sigaddset(&both, SIGUSR2);
	sigprocmask(SIG_BLOCK, &both, &before);
	raise(SIGUSR1);
	raise(SIGUSR2);
	CHECK("none while blocked", told(ENDED) == 0);
	sigprocmask(SIG_SETMASK, &before, NULL);
	/* The second one interrupts the first one's handler. */
	CHECK("two at once", told(ENDED) == 1 && told(NONE) == 1 && told(RETURNS + ENDED) == 1);
	pid_t pid = fork();
	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		*(volatile char *)8 = 1;
	}
	int status;
	waitpid(pid, &status, 0);
	SAY("fault: %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : -1);
	CHECK("not told of before it is made", told(BEFORE) == 0 && told(AGAIN_UNSEEN) == 0);
	return 0;
}
