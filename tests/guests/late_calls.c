// build: gcc -O1 -ldl -pthread
// library: calls
// A library that is opened after the start has its own system calls patched, each time, wherever it lies; its file's
// memory is as it was mapped.
// patched: libc.so.6 400
// patched: calls-library 3
#include "guest.h"
#include <dlfcn.h>
int main(void) {
	long good = 0;
	for (int round = 0; round < 50; round++) {
		void *library = dlopen(LIBRARY, round & 1 ? RTLD_NOW : RTLD_LAZY);
		if (!library) { SAY("%s\n", dlerror()); return 1; }
		long (*by_stone)(void) = (long (*)(void))dlsym(library, "pid_by_stone");
		long (*by_before)(void) = (long (*)(void))dlsym(library, "parent_by_before");
		long (*any)(long, long, long, long) = (long (*)(long, long, long, long))dlsym(library, "any");
		good += by_stone() == getpid() && by_before() == getppid() && any(SYS_gettid, 0, 0, 0) == getpid();
		good += any(SYS_close, -1, 0, 0) == -EBADF;
		dlclose(library);
	}
	SAY("good %ld\n", good);
	return 0;
}
