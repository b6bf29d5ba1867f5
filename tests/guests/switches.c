// build: gcc -O2 -fno-if-conversion
// Compilers' own jump tables and computed gotos that lead right behind a site.
// site: site_in_switch = direct,stone,live-stone,before,clobber
// site: site_in_goto = direct,stone,live-stone,before
#include <stdio.h>

extern char site_in_switch[], site_in_goto[];

static __attribute__((noinline, noclone)) long in_switch(int way, long number, long a) {
	long result = way;
	switch (way) {
	case 0: result = number; break;
	case 1: result = a * 3; break;
	case 2: result -= number; break;
	case 3: result = ~a; break;
	case 5:
		__asm__ volatile(".globl site_in_switch\nsite_in_switch: syscall" : "=a"(result) : "a"(number), "D"(a) : "rcx", "r11");
		/* falls through */
	case 6: result += 5; /* falls through */
	case 4: result *= 7; break;
	case 7: result = number ^ a; break;
	default: result = -1;
	}
	return result;
}

static __attribute__((noinline, noclone)) long in_goto(const unsigned char *program, long number, long a) {
	static const void *const ops[] = {&&call, &&behind, &&add, &&done};
	long result = 0;
#define NEXT goto *ops[*program++]
	NEXT;
call:
	__asm__ volatile(".globl site_in_goto\nsite_in_goto: syscall" : "=a"(result) : "a"(number), "D"(a) : "rcx", "r11");
behind:
	result += 3;
	NEXT;
add:
	result *= 5;
	NEXT;
done:
	return result;
}

int main(void) {
	for (int round = 0; round < 3; round++) {
		for (int way = 0; way < 9; way++) printf("%ld ", in_switch(way, 32, -1));
		printf("%ld\n", in_goto((const unsigned char[]){0, 2, 1, 2, 0, 1, 3}, 32, -1));
	}
	return 0;
}
