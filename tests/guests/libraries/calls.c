/* System calls of its own, by several tactics: dead padding, a moved instruction, none of both. */
#include <sys/syscall.h>

long pid_by_stone(void) {
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(SYS_getpid) : "rcx", "r11", "memory");
	return result + 0x10000000 - 0x10000000;
}

__asm__(".globl parent_by_before\n.type parent_by_before, @function\n"
	"parent_by_before:\n\tmov $110,%eax\n\tsyscall\n\tret\n"
	".size parent_by_before, . - parent_by_before\n\t.balign 16\n");

/* Any number. */
__attribute__((noinline)) long any(long number, long a, long b, long c) {
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}
