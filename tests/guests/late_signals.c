// build: gcc -O1 -ldl -pthread
// library: calls
// Libraries come and go, and code is generated, while signals arrive whose handler does the same: none is lost in it,
// and none finds the lock taken.
// patched: libc.so.6 400
// patched: calls-library 3
// only: ladder hook-run hook-after hook-record
// hook: slow
// hook: hears
// timeout: 60
#include "guest.h"
#include <dlfcn.h>
static volatile int wrong, arrived;
static void handler(int number) {
	static const unsigned char code[] = {0xb8, 0x27, 0, 0, 0, 0x0f, 0x05, 0xc3};
	(void)number;
	int saved = errno;
	arrived++;
	unsigned char *own = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(own, code, sizeof code);
	if (mprotect(own, 4096, PROT_READ | PROT_EXEC) || ((long (*)(void))own)() != getpid()) wrong++;
	if (munmap(own, 4096)) wrong++;
	errno = saved;
}
static void *mapper(void *arg) {
	for (int i = 0; i < 300; i++) {
		void *library = dlopen(LIBRARY, RTLD_NOW);
		long (*any)(long, long, long, long) = (long (*)(long, long, long, long))dlsym(library, "any");
		if (any(SYS_gettid, 0, 0, 0) != syscall(SYS_gettid)) wrong++;
		dlclose(library);
	}
	return arg;
}
int main(void) {

	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
	sigaction(SIGALRM, &action, NULL);
	struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
	setitimer(ITIMER_REAL, &often, NULL);
	pthread_t threads[3];
	for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, mapper, NULL);
	for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
	while (arrived < 20) usleep(500);
	setitimer(ITIMER_REAL, &never, NULL);
	SAY("wrong %d\n", wrong);
	return 0;
}
