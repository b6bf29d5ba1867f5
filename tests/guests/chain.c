// build: gcc -O1
// Hooks see a call in order, each what the one before it left, and its result in the opposite order.
// hook: plus twice
// hook: twice plus
// hook: plus run twice
// hook: plus after twice
// patched: libc.so.6 400
#include "guest.h"

int main(void) {
	const char *hooks = getenv("LIBHOTPATCH_HOOK");
	int fd = open("/dev/zero", O_RDONLY), file = memfd_create("offsets", 0);
	if (fd < 0 || file < 0) return 1;
	const char *plus = hooks ? strstr(hooks, "plus.so") : NULL, *twice = hooks ? strstr(hooks, "twice.so") : NULL;
	long offset = 10, expected = 10, at = 10;
	if (plus && twice) at = plus < twice ? (10 + 1) * 2 : 10 * 2 + 1;
	if (plus && twice) expected = plus < twice ? at * 2 + 1 : (at + 1) * 2;
	long result;
	__asm__ volatile("syscall" : "=a"(result), "+S"(offset) : "a"(SYS_lseek), "D"(file), "d"(SEEK_SET)
			 : "rcx", "r11", "memory");
	SAY("result %s\n", result == expected ? "right" : "wrong");
	SAY("argument %ld\n", offset);
	char text[64] = "", path[64];
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", file);
	int info = open(path, O_RDONLY);
	if (read(info, text, sizeof text - 1) < 0) return 1;
	SAY("offset %s\n", atol(text + 4) == at ? "right" : "wrong");
	return 0;
}
