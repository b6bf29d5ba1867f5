// build: g++ -O2 -pthread
// Exceptions pass through frames whose code was moved, into landing pads right beside a site.
// site: site_thrower = direct,stone,live-stone,before,clobber
// patched: libc.so.6 400
#include <stdio.h>
#include <stdexcept>
#include <string>
#include <unistd.h>

struct Guard {
	const char *name;
	~Guard() { printf("~%s\n", name); }
};

static long call(long number, long a) {
	long result;
	asm volatile("syscall" : "=a"(result) : "a"(number), "D"(a) : "rcx", "r11", "memory");
	return result;
}

static int __attribute__((noinline)) thrower(int n) {
	Guard guard{"thrower"};
	long result;
	asm volatile(".globl site_thrower\nsite_thrower: syscall" : "=a"(result) : "a"(32), "D"(-1) : "rcx", "r11");
	if (n) throw std::runtime_error(std::to_string(result));
	return result;
}
static int __attribute__((noinline)) middle(int n) {
	Guard guard{"middle"};
	long before = call(32, -1);
	try {
		return thrower(n) + before;
	} catch (const std::logic_error &) {
		return call(32, -2);
	}
}
static int __attribute__((noinline)) outer(int n) {
	try {
		call(32, -1);
		return middle(n);
	} catch (const std::runtime_error &error) {
		long again = call(32, -1);
		printf("caught %s, %ld\n", error.what(), again);
		return again;
	}
}

int main() {
	for (int i = 0; i < 3; i++) printf("%d\n", outer(i % 2));
	return 0;
}
