// build: gcc -O1 -ldl -pthread
// library: calls
// Eight threads open a library, call it and close it, 10,000 times in all: mostly it is open, now and then it goes and
// comes back, and one of them may sleep in a call of it for all that time.
// patched: libc.so.6 400
// patched: calls-library 3
// only: ladder stone hook-run hook-after hook-record
// timeout: 120
#include "guest.h"
#include <dlfcn.h>
enum { THREADS = 8, ROUNDS = 1250 };
typedef long (*call_t)(long, long, long, long);
static void *user(void *arg) {
	long good = 0;
	for (int round = 0; round < ROUNDS; round++) {
		void *library = dlopen(LIBRARY, RTLD_NOW);
		if (!library) continue;
		call_t any = (call_t)dlsym(library, "any");
		long (*by_stone)(void) = (long (*)(void))dlsym(library, "pid_by_stone");
		struct timespec pause = {0, round % 64 == 0 ? 300000 : 0};
		int ok = any(SYS_nanosleep, (long)&pause, 0, 0) == 0;
		for (int i = 0; i < 8; i++) ok &= any(SYS_gettid, 0, 0, 0) == syscall(SYS_gettid) && by_stone() == getpid();
		good += ok;
		if (dlclose(library)) good--;
	}
	(void)arg;
	return (void *)good;
}
int main(void) {
	pthread_t threads[THREADS];
	long good = 0;
	for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, user, NULL);
	for (int i = 0; i < THREADS; i++) {
		void *some;
		pthread_join(threads[i], &some);
		good += (long)some;
	}
	SAY("good %ld\n", good);
	return 0;
}
