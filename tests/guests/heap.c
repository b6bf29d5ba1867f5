// build: gcc -O1
// The break grows by 512 MB as it does natively; memory near the program is where it was.
// patched: libc.so.6 400
#include "guest.h"
int main(void) {
	for (int i = 0; i < 8; i++) {
		char *was = sbrk(64 << 20);
		if (was == (void *)-1) {
			SAY("sbrk: %m after %d\n", i);
			break;
		}
		was[0] = was[(64 << 20) - 1] = 1;
	}
	SAY("512 MB\n");
	return 0;
}
