// build: gcc -O1
// Started with any of stdin, stdout and stderr closed: the next open file still gets the lowest number.
// patched: libc.so.6 400
#include "again.h"
static int closed;
static void close_them(void) {
	for (int fd = 0; fd < 3; fd++)
		if (closed & 1 << fd) close(fd);
}
int main(int argc, char **argv) {
	if (argc > 1) {
		(void)argv;
		int a = open("/dev/null", O_RDWR), b = open("/dev/null", O_RDWR), c = open("/dev/null", O_RDWR);
		return a * 25 + b * 5 + c;
	}
	for (closed = 0; closed < 8; closed++) SAY("%d: %d\n", closed, WEXITSTATUS(again("inner", close_them)));
	return 0;
}
