// build: gcc -O1 -ldl
// library: audit
// A program under LD_AUDIT: the auditor is in a namespace of its own from before the start; opened once more by the
// program, and in another namespace, it is patched there.
// patched: libc.so.6 400
// patched: audit-library 1
// only: ladder hook-run hook-after hook-record
#include "guest.h"
#include <dlfcn.h>
typedef long (*call_t)(long, long, long, long);
int main(int argc, char **argv) {
	if (!getenv("LD_AUDIT")) {
		setenv("LD_AUDIT", LIBRARY, 1);
		execv("/proc/self/exe", argv);
		return 1;
	}
	(void)argc;
	for (int i = 0; i < 3; i++) {
		void *library = dlopen(LIBRARY, RTLD_NOW), *space = dlmopen(LM_ID_NEWLM, LIBRARY, RTLD_NOW);
		call_t any = library ? (call_t)dlsym(library, "any") : NULL, other = space ? (call_t)dlsym(space, "any") : NULL;
		SAY("%d %d", any && any(SYS_getpid, 0, 0, 0) == getpid(), other && other(SYS_getpid, 0, 0, 0) == getpid());
		SAY(" %d\n", any != other);
		if (library) dlclose(library);
		if (space) dlclose(space);
	}
	return 0;
}
