// build: gcc -O1 -pthread
// fork while other threads map code, run it and unmap it: children run their own copy, and map code themselves.
// only: ladder stone hook-run hook-after hook-record
// hook: slow
// patched: libc.so.6 400
#include "guest.h"
#include <dlfcn.h>

/* mov $39,%eax; syscall; ret, in a page of its own, or across two */
static const unsigned char code[] = {0xb8, 0x27, 0, 0, 0, 0x0f, 0x05, 0xc3};
static long run_fresh(int at) {
	unsigned char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED) return -1;
	memcpy(page + at, code, sizeof code);
	if (mprotect(page, 8192, PROT_READ | PROT_EXEC)) return -2;
	long pid = ((long (*)(void))(page + at))();
	munmap(page, 8192);
	return pid;
}
static volatile int stop, rounds;
static void *mapper(void *arg) {
	long wrong = 0, pid = getpid();
	for (int i = 0; !stop; i++) {
		if (run_fresh(i % 2 ? 64 : 4090) != pid) wrong++;
		rounds++;
	}
	(void)arg;
	return (void *)wrong;
}
static void *loader(void *arg) {
	long wrong = 0;
	while (!stop) {
		void *library = dlopen("libutil.so.1", RTLD_NOW | RTLD_LOCAL);
		if (library == NULL || dlclose(library)) wrong++;
	}
	(void)arg;
	return (void *)wrong;
}

int main(void) {
	pthread_t threads[2];
	pthread_create(&threads[0], NULL, mapper, NULL);
	pthread_create(&threads[1], NULL, loader, NULL);
	int good = 0;
	for (int i = 0; i < 150; i++) {
		int seen = rounds;
		pid_t pid = i % 3 ? fork() : vfork();
		if (pid == 0) {
			/* The loader's lock may have been another thread's: only maps. */
			if (i % 3 == 0) _exit(i);
			_exit(run_fresh(64) == getpid() && run_fresh(4090) == getpid() ? i : 255);
		}
		int status;
		if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == i) good++;
		while (rounds == seen) sched_yield();
	}
	stop = 1;
	for (int i = 0; i < 2; i++) {
		void *wrong;
		pthread_join(threads[i], &wrong);
		SAY("thread %d: %ld wrong\n", i, (long)wrong);
	}
	SAY("children %d\n", good);
	return 0;
}
