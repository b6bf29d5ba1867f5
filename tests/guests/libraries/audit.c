/* An auditor (rtld-audit(7)) that makes system calls of its own. */
#define _GNU_SOURCE
#include <link.h>
#include <sys/syscall.h>

__attribute__((noinline)) long any(long number, long a, long b, long c) {
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}

unsigned int la_version(unsigned int version) { return any(SYS_getpid, 0, 0, 0) > 0 ? version : 0; }

unsigned int la_objopen(struct link_map *map, Lmid_t space, uintptr_t *cookie) {
	(void)map, (void)space, (void)cookie;
	return any(SYS_getppid, 0, 0, 0) >= 0 ? LA_FLG_BINDTO | LA_FLG_BINDFROM : 0;
}
