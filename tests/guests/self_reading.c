// build: gcc -O1
// A program that reads its own text sees the change, which LIMITS.md says; it must see bytes, and go on.
// site: site_read = direct,stone,live-stone,before,clobber
#include "guest.h"

extern char __executable_start[], etext[], site_read[];
__attribute__((noinline)) static long call(long number, long a) {
	long result;
	__asm__ volatile(".globl site_read\nsite_read: syscall" : "=a"(result) : "a"(number), "D"(a) : "rcx", "r11");
	return result;
}

int main(void) {
	unsigned long sum = 0, length = 0;
	for (char *p = (char *)main; p < etext; p++) sum += *(unsigned char *)p, length++;
	SAY("%d %d %ld\n", sum > 0, length > 0, call(32, -1));
	int fd = open("/proc/self/exe", O_RDONLY);
	struct stat file;
	fstat(fd, &file);
	char *copy = mmap(0, file.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	/* The file itself is as it was. */
	int found = 0;
	for (long i = 0; i + 1 < file.st_size; i++) found += copy[i] == 0x0f && copy[i + 1] == 0x05;
	SAY("%d in the file\n", found > 0);
	return 0;
}
