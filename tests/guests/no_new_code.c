// build: gcc -O1
// Memory that was writable may not become executable (MDWE): text stays executable whatever is done to it.
// patched: libc.so.6 400
#include "again.h"
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif
static void refuse(void) {
	int null = open("/dev/null", O_WRONLY);
	/* What could not be patched may be said there. */
	dup2(null, 2);
	if (prctl(PR_SET_MDWE, 1, 0, 0, 0)) _exit(77);
}
int main(int argc, char **argv) {
	if (argc > 1) {
		(void)argv;
		SAY("inner %d\n", dup(-1));
		return 14;
	}
	SAY("%x\n", again("inner", refuse));
	return 0;
}
