// build: gcc -O1 -no-pie -fno-pie -mcmodel=medium
// Text at a fixed address with 1.9 GB behind it: trampolines have little room within reach of a jump.
// site: site_far = direct,stone,live-stone,before,clobber
#include "guest.h"
static char huge[1900ul << 20];
extern char site_far[];
__attribute__((noinline)) static long call(long number, long a) {
	long result;
	__asm__ volatile(".globl site_far\nsite_far: syscall" : "=a"(result) : "a"(number), "D"(a) : "rcx", "r11");
	return result;
}
int main(void) {
	huge[0] = huge[sizeof huge - 1] = 3;
	SAY("%ld %d\n", call(32, -1), huge[sizeof huge - 1] + huge[sizeof huge / 2]);
	char *heap = sbrk(16 << 20);
	heap[0] = 1;
	SAY("%d\n", heap[0]);
	return 0;
}
