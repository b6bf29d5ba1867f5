// build: gcc -O1 -ldl
// Libraries loaded after the start run natively or patched, and can be unloaded and loaded again.
// patched: libc.so.6 400
#include "guest.h"
#include <dlfcn.h>
int main(void) {
	static const char *const names[] = {"libm.so.6", "libutil.so.1", "libresolv.so.2", "libz.so.1", "libanl.so.1"};
	for (int round = 0; round < 3; round++)
		for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
			void *library = dlopen(names[i], RTLD_NOW);
			SAY("%s %d\n", names[i], library != NULL);
			if (library) dlclose(library);
		}
	void *space = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
	long (*call)(long, ...) = space ? (long (*)(long, ...))dlsym(space, "syscall") : NULL;
	SAY("another libc: %ld\n", call ? call(SYS_getppid) == getppid() : -1L);
	return 0;
}
