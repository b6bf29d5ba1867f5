// build: gcc -O1
// Other layouts of memory: not randomised, the old one, everything readable executable, page zero mapped, no limit on the stack.
// patched: libc.so.6 400
#include "again.h"
#include <sys/personality.h>
static unsigned long persona;
static void change(void) {
	if (persona == 1) {
		struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
		if (setrlimit(RLIMIT_STACK, &none)) _exit(99);
	} else if (personality(persona) == -1) _exit(98);
}
int main(int argc, char **argv) {
	if (argc > 1) {
		(void)argv;
		SAY("inner %d %d\n", dup(-1), *(volatile char *)sbrk(4096));
		return 15;
	}
	static const unsigned long personas[] = {ADDR_NO_RANDOMIZE, ADDR_COMPAT_LAYOUT, READ_IMPLIES_EXEC, MMAP_PAGE_ZERO,
		ADDR_LIMIT_3GB, 0x1f40000, 1};
	for (unsigned i = 0; i < sizeof personas / sizeof *personas; i++) {
		persona = personas[i];
		SAY("%lx: %x\n", persona, again("inner", change));
	}
	return 0;
}
