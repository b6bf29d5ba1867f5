// build: gcc -O1 -nostdlib -nostartfiles -fno-stack-protector -pie -fPIE -Wl,-dynamic-linker,/lib64/ld-linux-x86-64.so.2
// A program without libc: ld.so loads the library into it all the same.
// site: site_bare = direct,stone,live-stone,before,clobber
extern char site_bare[];
__attribute__((noinline)) static long call(long number, long a, const void *b, long c) {
	long result;
	__asm__ volatile(".globl site_bare\nsite_bare: syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return result;
}
void _start(void) {
	call(1, 1, "without libc\n", 13);
	call(60, 21, 0, 0);
	__builtin_unreachable();
}
