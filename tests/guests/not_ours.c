// build: gcc -O1
// A program takes away, protects and maps over whatever it did not map itself: what is not in its own list of mappings
// natively is not there for it, and stays.
// patched: libc.so.6 400
// only: ladder hook-run hook-after hook-record
#include "guest.h"

enum { MOST = 512 };
static struct range { uintptr_t from, to; } known[MOST];
static int count;

static void know(uintptr_t from, uintptr_t to) {
	if (count < MOST) known[count].from = from, known[count++].to = to;
}
/* Of each line: does it belong to the program? Files that it was started with, heap, stack, what the kernel maps. */
static int is_own(const char *path) {
	return path[0] && !strstr(path, "hotpatch");
}

__attribute__((noinline)) static long call(long number, long a, long b, long c) { return raw3(number, a, b, c); }

int main(void) {
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	uintptr_t from, to, last = 0;
	int own_before = 0;
	while (fgets(line, sizeof line, maps)) {
		char path[400] = "", flags[8];
		unsigned long f, t;
		sscanf(line, "%lx-%lx %7s %*s %*s %*s %399s", &f, &t, flags, path);
		from = f, to = t;
		int own = is_own(path);
		/* What follows a file's mapping without a gap and can be written to is its zeroed data. */
		if (!path[0] && own_before && from == last && flags[1] == 'w') own = 1;
		int executable = flags[2] == 'x';
		/* Trampolines: executable, nobody's file. */
		if (!own && executable && !path[0]) know(from, to);
		own_before = own, last = to;
	}
	fclose(maps);
	int bad = 0;
	for (int i = 0; i < count; i++) {
		void *at = (void *)known[i].from;
		size_t len = known[i].to - known[i].from;
		/* Natively there is none of these. */
		if (munmap(at, len)) bad++;
		if (mprotect(at, len, PROT_READ) != -1 || errno != ENOMEM) bad++;
		if (mremap(at, len, len, MREMAP_MAYMOVE) != MAP_FAILED || errno != EFAULT) bad++;
		if (mmap(at, len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED) bad++;
	}
	SAY("bad %d\n", bad);
	SAY("calls %d\n", call(SYS_getpid, 0, 0, 0) == getpid());
	/* A range that holds much else. */
	char *mine = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	strcpy(mine, "mine");
	SAY("%s %d", mine, mprotect(mine, 1 << 20, PROT_READ));
	SAY(" %d\n", munmap(mine, 1 << 20));
	int odd = munmap((void *)1, 4096);
	SAY("%d %d\n", odd, errno);
	SAY("calls %d\n", call(SYS_getppid, 0, 0, 0) == getppid());
	return 0;
}
