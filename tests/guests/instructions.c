// build: gcc -O1 -mrdrnd
// Other instructions than system calls: hooked or not, every register and flag is what it would be.
// hook: others
// hook: others_after
// hook: clockwork
// hook: others run clockwork
// patched: libc.so.6 400
#include "frame.h"
#include <stdint.h>
#include <stdlib.h>

VARIANT(identify, "xor %ecx, %ecx\n xor %eax, %eax\n site_identify: cpuid\n nop\n nop\n nop\n and $0, %ebx\n and $0, %ecx\n and $0, %edx");
VARIANT(state, "xor %ecx, %ecx\n site_state: xgetbv\n nop\n nop\n");
VARIANT(time, "site_time: rdtsc\n xor %eax, %eax\n xor %edx, %edx\n");
VARIANT(process, "site_process: rdtscp\n xor %eax, %eax\n xor %edx, %edx\n xor %ecx, %ecx\n");
PAD;

static uint64_t tsc(void) {
	uint32_t low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return low | (uint64_t)high << 32;
}
static uint64_t tscp(uint32_t *id) {
	uint32_t low, high;
	__asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(*id));
	return low | (uint64_t)high << 32;
}
static int chance(uint64_t *value) {
	unsigned char given;
	__asm__ volatile("rdrand %%rax\n setc %1" : "=a"(*value), "=q"(given) :: "cc");
	return given;
}

int main(void) {
	static const unsigned long flags[] = {0x202, 0x203, 0xa02, 0xad7, 0x602, 0xed7, 0x40602};
	for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
		printf("flags %lx\n", flags[i]);
		fill(0, flags[i]);
		RUN(identify);
		fill(0, flags[i]);
		RUN(state);
		fill(0, flags[i]);
		RUN(time);
		fill(0, flags[i]);
		RUN(process);
	}
	const char *hooks = getenv("LIBHOTPATCH_HOOK");
	int odd = hooks && strstr(hooks, "clockwork");
	uint32_t id, a = 0, b, c = 0, d;
	uint64_t value, before = tsc(), between = tscp(&id), after = tsc();
	printf("time %s\n", odd ? between - before == 1000 && after - between == 1000 && id == 77 ? "right" : "wrong"
			  : before <= after ? "right" : "wrong");
	int given = chance(&value);
	printf("chance %s\n", !odd || (given && value == 4) ? "right" : "wrong");
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	printf("vendor %s\n", odd == (b == 0x2e2e2e2e && c == b && d == b) ? "right" : "wrong");
	return 0;
}
