#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static __attribute__((noinline)) long plain(long number, long a) {
	long result;
	__asm__ volatile(".globl site_cet\nsite_cet: syscall" : "=a"(result) : "a"(number), "D"(a) : "rcx", "r11", "memory");
	return result;
}
static __attribute__((noinline)) long constant(long a) {
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(32), "D"(a) : "rcx", "r11", "memory");
	if (result < 0) return -result;
	return result * 2;
}
static __attribute__((noinline)) int dispatch(int way) {
	long result;
	switch (way) {
	case 0: return constant(-1);
	case 1: return plain(32, -1);
	case 2: result = plain(-1, 0); return result + 1;
	case 3:
		__asm__ volatile("syscall" : "=a"(result) : "a"(33), "D"(-1), "S"(-1) : "rcx", "r11", "memory");
		return result;
	case 4: return 17;
	case 5: return constant(-1) + constant(-1);
	default: return -5;
	}
}
static int (*const table[])(int) = {dispatch, abs, dispatch};
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

static int body(void) {
	int values[24], count = 0;
	for (int i = 0; i < 24; i++) values[count++] = table[i % 3](i % 8);
	qsort(values, count, sizeof *values, compare);
	for (int i = 0; i < count; i++) printf("%d ", values[i]);
	printf("\n");
	fflush(stdout);
	return 0;
}
#ifdef OWN_ENTRY
__attribute__((force_align_arg_pointer)) void begin(void) { exit(body()); }
#else
int main(void) { return body(); }
#endif
