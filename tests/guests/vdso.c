// build: gcc -O1
// The kernel's own code in every process: calls of it that go on into the kernel.
// patched: [vdso] 1
#include "guest.h"
#include <sys/auxv.h>

int main(void) {
	SAY("vdso %d\n", getauxval(AT_SYSINFO_EHDR) != 0);
	for (int i = 0; i < 1000; i++) {
		struct timespec a, b;
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
		clock_gettime(CLOCK_MONOTONIC, &b);
		struct timeval c;
		gettimeofday(&c, NULL);
		time(NULL);
		clock_getres(CLOCK_THREAD_CPUTIME_ID, &a);
		unsigned cpu;
		getcpu(&cpu, NULL);
		errno = 0;
		if (clock_gettime(12345, &a) != -1 || errno != EINVAL) SAY("wrong\n");
	}
	return 0;
}
