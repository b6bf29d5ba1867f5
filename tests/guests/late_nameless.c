// build: gcc -O1 -ldl
// library: calls
// A library that has no name any more is opened: from memory, and deleted between two openings.
// patched: libc.so.6 400
#include "guest.h"
#include <dlfcn.h>
typedef long (*call_t)(long, long, long, long);
static void use(const char *what, const char *path) {
	void *library = dlopen(path, RTLD_NOW);
	call_t any = library ? (call_t)dlsym(library, "any") : NULL;
	long (*by_stone)(void) = library ? (long (*)(void))dlsym(library, "pid_by_stone") : NULL;
	SAY("%s %d\n", what, any && any(SYS_getppid, 0, 0, 0) == getppid() && by_stone() == getpid());
	if (library) dlclose(library);
}
int main(void) {
	static char bytes[1 << 20];
	int from = open(LIBRARY, O_RDONLY);
	ssize_t len = read(from, bytes, sizeof bytes);
	int memory = syscall(SYS_memfd_create, "library", 0);
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
	if (len <= 0 || write(memory, bytes, len) != len) return 1;
	for (int i = 0; i < 3; i++) use("memfd", path);
	int copy = open("copy.so", O_RDWR | O_CREAT | O_TRUNC, 0700);
	if (write(copy, bytes, len) != len) return 1;
	use("file", "./copy.so");
	unlink("copy.so");
	snprintf(path, sizeof path, "/proc/self/fd/%d", copy);
	use("deleted", path);
	return 0;
}
