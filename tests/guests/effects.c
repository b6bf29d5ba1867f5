// build: gcc -O1 -pthread
// What hooks answer, change and are told arrives: with tests/hooks/effects.c. Natively there is nothing to be seen.
// hook: effects
// hook: run effects after
// patched: libc.so.6 400
#include "guest.h"
#include <spawn.h>

static int hooked;
#define CHECK(what, condition) SAY("%s %s\n", what, !hooked || (condition) ? "right" : "wrong")

enum { THREAD_START = 1, THREAD_END, FORK_CHILD, BEFORE_EXEC, FORKS = 8 };
static long slot(void) { return syscall(1000); }
static long told(long what) { return syscall(1001, what); }
static long first_slot[10];

static void *thread(void *arg) {
	long *first = arg;
	*first = slot();
	if (slot() != 1 || slot() != 2) *first = -1;
	return NULL;
}

extern char elsewhere[];
__attribute__((noinline)) static long goes_elsewhere(void) {
	long result;
	__asm__ volatile("lea 1f(%%rip), %%rdi\n mov $1002, %%eax\n syscall\n mov $0, %%eax\n jmp 2f\n"
			 "1: mov $1, %%eax\n 2:" : "=a"(result) :: "rdi", "rcx", "r11", "memory");
	return result;
}

static void in_child(const char *name, int status) {
	hooked ? SAY("%s %s\n", name, status == 0 ? "right" : "wrong") : SAY("%s right\n", name);
}

int main(void) {
	hooked = getenv("LIBHOTPATCH_HOOK") != NULL && strstr(getenv("LIBHOTPATCH_HOOK"), "effects");
	CHECK("answered", getppid() == 4242);
	CHECK("answered again", syscall(SYS_getppid) == 4242);
	if (hooked) syscall(SYS_write, 900, "a changed argument\n", 19);
	else syscall(SYS_write, 1, "a changed argument\n", 19);
	long fd = 900, result;
	__asm__ volatile("syscall" : "=a"(result), "+D"(fd) : "a"(SYS_write), "S"(""), "d"(0) : "rcx", "r11", "memory");
	CHECK("its own argument back", fd == 900 && result == 0);
	CHECK("a changed result", getuid() == raw3(SYS_geteuid, 0, 0, 0) + 5);
	CHECK("the same through syscall()", syscall(SYS_getuid) == raw3(SYS_geteuid, 0, 0, 0) + 5);
	CHECK("elsewhere", goes_elsewhere() == 1);
	CHECK("slot", slot() == 0 && slot() == 1 && slot() == 2);
	pthread_t threads[10];
	for (int i = 0; i < 10; i++) pthread_create(&threads[i], NULL, thread, &first_slot[i]);
	for (int i = 0; i < 10; i++) pthread_join(threads[i], NULL);
	int zeros = 0;
	for (int i = 0; i < 10; i++) zeros += first_slot[i] == 0;
	CHECK("slots of threads", zeros == 10);
	CHECK("threads start", told(THREAD_START) == 10);
	CHECK("threads end", told(THREAD_END) == 10);
	CHECK("behind clone, in both", told(FORKS) == 20);
	int status;
	pid_t pid = fork();
	if (pid == 0) _exit(slot() != 3 || told(FORK_CHILD) != 1 || told(FORKS) != 21);
	waitpid(pid, &status, 0);
	in_child("fork", status);
	CHECK("the parent of a fork", told(FORK_CHILD) == 0 && told(FORKS) == 21 && slot() == 3);
	pid = vfork();
	if (pid == 0) _exit(hooked && (told(FORK_CHILD) != 0 || told(FORKS) != 22));
	waitpid(pid, &status, 0);
	in_child("vfork", status);
	CHECK("the parent of a vfork", told(FORKS) == 23 && told(FORK_CHILD) == 0);
	char *argv[] = {"true", NULL}, *environment[] = {NULL};
	for (int i = 0; i < 200; i++) {
		if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environment)) SAY("no spawn: %m\n");
		waitpid(pid, &status, 0);
		if (status) SAY("spawned: %x\n", status);
	}
	CHECK("exec", told(BEFORE_EXEC) == 200);
	CHECK("spawned children", told(FORK_CHILD) == 0 && told(FORKS) == 423);
	return 0;
}
