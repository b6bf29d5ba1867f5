// build: gcc -O1 -pthread
// A program writes code, protects it, runs it, reads it back when it may write to it again, and rewrites it: it finds
// what it has written.
// patched: libc.so.6 400
// patched: [generated] 1
// only: ladder hook-run hook-after hook-record
#include "guest.h"
typedef long (*code_t)(void);
static unsigned char *page;

/* push %rbx; nop; mov $NR,%eax; syscall; pop %rbx; ret, then what aligns the next. */
static unsigned char *put(unsigned char *at, unsigned number) {
	const unsigned char code[] = {0x53, 0x90, 0xb8, number, 0, 0, 0, 0x0f, 0x05, 0x5b, 0xc3};
	memset(at, 0xcc, 32);
	memcpy(at, code, sizeof code);
	return at;
}
static int is_it(unsigned char *at, unsigned number) {
	unsigned char expected[32];
	put(expected, number);
	return !memcmp(at, expected, 32);
}
static volatile int stop;
static void *caller(void *arg) {
	long wrong = 0;
	while (!stop)
		if (((code_t)arg)() != getpid()) wrong++;
	return (void *)wrong;
}

int main(void) {
	page = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int good = 0, same = 0;
	for (int round = 0; round < 60; round++) {
		if (mprotect(page, 16384, PROT_READ | PROT_WRITE)) SAY("not writable: %m\n");
		/* What the last round has left. */
		if (round) same += is_it(page, 39) && is_it(page + 4096 + 37 * (round - 1), 110) && is_it(page + 8192 - 16, 39);
		memset(page, 0xcc, 16384);
		/* At the start, anywhere, across a page. */
		code_t first = (code_t)put(page, 39), any = (code_t)put(page + 4096 + 37 * round, 110);
		code_t across = (code_t)put(page + 8192 - 16, 39);
		if (mprotect(page, 16384, PROT_READ | PROT_EXEC)) SAY("not executable: %m\n");
		for (int i = 0; i < 3; i++) good += first() == getpid() && any() == getppid() && across() == getpid();
	}
	SAY("good %d, same %d\n", good, same);

	/* The same memory is made executable again while other threads run it. */
	pthread_t threads[4];
	for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, caller, page);
	for (int i = 0; i < 300; i++) mprotect(page, 16384, PROT_READ | PROT_EXEC), sched_yield();
	stop = 1;
	long wrong = 0;
	for (int i = 0; i < 4; i++) {
		void *some;
		pthread_join(threads[i], &some);
		wrong += (long)some;
	}
	SAY("wrong %ld\n", wrong);

	/* Moved, it is as it was written. Not to a fixed distance: anything may be there. */
	unsigned char *room = mmap(NULL, 16384, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned char *there = mremap(page, 16384, 16384, MREMAP_MAYMOVE | MREMAP_FIXED, room);
	SAY("moved %d, calls %d\n", there == room, ((code_t)there)() == getpid());
	if (mprotect(there, 16384, PROT_READ | PROT_WRITE)) SAY("not writable: %m\n");
	SAY("same %d\n", is_it(there, 39));
	return 0;
}
