// build: gcc -O1 -z execstack
// A program that asks for an executable stack has one.
// patched: libc.so.6 400
#include "guest.h"
int main(void) {
	FILE *file = fopen("/proc/self/maps", "r");
	char line[512];
	while (fgets(line, sizeof line, file))
		if (strstr(line, "[stack]")) SAY("%.4s\n", strchr(line, ' ') + 1);
	volatile unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
	SAY("%d\n", ((int (*)(void))code)());
	return 0;
}
