// build: gcc -O1 -ldl -pthread
// library: calls
// A patched library is unmapped, replaced, moved and protected by the program itself; what it did not map it cannot
// take away.
// patched: libc.so.6 400
// patched: calls-library 3
#include "guest.h"
#include <dlfcn.h>
typedef long (*call_t)(long, long, long, long);
static unsigned char *page_of(void *at) { return (unsigned char *)((uintptr_t)at & ~4095ul); }

/* The file's own bytes of the page of code, which the program reads. */
static int is_original(unsigned char *page, const unsigned char *file) { return !memcmp(page, file, 4096); }

struct taken { uintptr_t from, to; };
/* Everything between mappings that the list does not know is free to the program. */
static int own_mappings(struct taken *list, int most) {
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	int count = 0;
	while (fgets(line, sizeof line, maps) && count < most) {
		unsigned long from, to;
		sscanf(line, "%lx-%lx", &from, &to);
		list[count].from = from, list[count++].to = to;
	}
	fclose(maps);
	return count;
}

int main(void) {
	void *library = dlopen(LIBRARY, RTLD_NOW);
	call_t any = (call_t)dlsym(library, "any");
	unsigned char *page = page_of((void *)any);
	Dl_info info;
	dladdr((void *)any, &info);
	size_t offset = page - (unsigned char *)info.dli_fbase;
	int fd = open(LIBRARY, O_RDONLY);
	unsigned char *file = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, offset);
	SAY("calls %d\n", any(SYS_getpid, 0, 0, 0) == getpid());

	/* Moved: it runs at its new place, with the bytes that it had. */
	unsigned char *there = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	SAY("moved %d\n", mremap(page, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, there) == there);
	call_t moved = (call_t)(there + ((unsigned char *)any - page));
	SAY("bytes %d, calls %d\n", is_original(there, file), moved(SYS_getpid, 0, 0, 0) == getpid());
	/* And back: mapped again, it is patched again. */
	SAY("again %d\n", mmap(page, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, offset) == page);
	for (int i = 0; i < 3; i++) SAY("calls %d\n", any(SYS_getppid, 0, 0, 0) == getppid());

	/* Another file's page in its place, then its own, then nothing. */
	unsigned char *other = mmap(page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
	static const unsigned char code[] = {0xb8, 0x2a, 0, 0, 0, 0xc3};
	memset(other, 0xc3, 4096);
	memcpy((unsigned char *)any, code, sizeof code);
	mprotect(other, 4096, PROT_READ | PROT_EXEC);
	SAY("other %ld\n", any(0, 0, 0, 0));
	for (int i = 0; i < 20; i++) {
		mmap(page, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, offset);
		if (any(SYS_getpid, 0, 0, 0) != getpid()) SAY("wrong\n");
		if (munmap(page, 4096)) SAY("not unmapped: %m\n");
	}
	mmap(page, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, fd, offset);
	SAY("calls %d\n", any(SYS_getpid, 0, 0, 0) == getpid());

	/* Protection back and forth: the code stays what it is. */
	for (int i = 0; i < 20; i++) {
		if (mprotect(page, 4096, i % 2 ? PROT_NONE : PROT_READ | PROT_WRITE)) SAY("not protected: %m\n");
		if (mprotect(page, 4096, PROT_READ | PROT_EXEC)) SAY("not protected: %m\n");
		if (any(SYS_getpid, 0, 0, 0) != getpid()) SAY("wrong\n");
	}

	/* All that is not on the list of what is mapped is taken away: nothing that the program knows of. */
	static struct taken list[256];
	int count = own_mappings(list, 256), failed = 0;
	for (int i = 0; i + 1 < count; i++) {
		uintptr_t gap = list[i].to, end = list[i + 1].from;
		if (gap < end && end < 0x7fffffffe000 && munmap((void *)gap, end - gap)) failed++;
	}
	SAY("gaps %d, calls %d\n", failed, any(SYS_getpid, 0, 0, 0) == getpid());
	return 0;
}
