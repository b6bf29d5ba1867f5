// build: gcc -O1
// Started with hardly any descriptors, little memory, small stacks, no core, no file size.
// patched: libc.so.6 400
#include "again.h"
static int which;
static const struct { int what; rlim_t limit; } cases[] = {
	{RLIMIT_NOFILE, 4}, {RLIMIT_NOFILE, 5}, {RLIMIT_AS, 16 << 20}, {RLIMIT_AS, 8 << 20}, {RLIMIT_STACK, 64 << 10},
	{RLIMIT_STACK, 256 << 10}, {RLIMIT_DATA, 1 << 20}, {RLIMIT_FSIZE, 0}, {RLIMIT_MEMLOCK, 0}, {RLIMIT_CORE, 0},
	{RLIMIT_NPROC, 1}, {RLIMIT_SIGPENDING, 0},
};
static void limit(void) {
	struct rlimit both = {cases[which].limit, cases[which].limit};
	if (setrlimit(cases[which].what, &both)) _exit(100);
}
static void three(void) {
	/* Nothing can be opened, not even libc: ld.so itself gives up, patched or not. */
	struct rlimit both = {3, 3};
	if (setrlimit(RLIMIT_NOFILE, &both)) _exit(100);
	int fd = open("/dev/null", O_RDONLY);
	_exit(fd < 0 ? 55 : 56);
}
int main(int argc, char **argv) {
	if (argc > 1) {
		(void)argv;
		struct rlimit both;
		getrlimit(RLIMIT_NOFILE, &both);
		return 7;
	}
	for (which = 0; which < (int)(sizeof cases / sizeof *cases); which++)
		SAY("%d: %x\n", which, again("inner", limit));
	SAY("three descriptors: %x\n", again("inner", three));
	return 0;
}
