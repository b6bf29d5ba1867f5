/* Code that a program writes into memory which it may go on writing to. */
#include "guest.h"
typedef long (*code_t)(void);
typedef long (*call_t)(long, long, long, long, long, long, long);

__attribute__((unused)) static unsigned char *writable_code(size_t size) {
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED) SAY("no writable code: %m\n"), exit(1);
	return at;
}

/* As syscall(2), without errno. */
__attribute__((unused)) static call_t put_call(unsigned char *at) {
	const unsigned char code[] = {
		0x48, 0x89, 0xf8,             /* mov %rdi,%rax */
		0x48, 0x89, 0xf7,             /* mov %rsi,%rdi */
		0x48, 0x89, 0xd6,             /* mov %rdx,%rsi */
		0x48, 0x89, 0xca,             /* mov %rcx,%rdx */
		0x4d, 0x89, 0xc2,             /* mov %r8,%r10 */
		0x4d, 0x89, 0xc8,             /* mov %r9,%r8 */
		0x4c, 0x8b, 0x4c, 0x24, 0x08, /* mov 8(%rsp),%r9 */
		0x0f, 0x05,                   /* syscall */
		0xc3,
	};
	memcpy(at, code, sizeof code);
	return (call_t)at;
}

/* mov $NR,%eax; syscall; ret */
__attribute__((unused)) static code_t put_number(unsigned char *at, unsigned number) {
	const unsigned char code[] = {0xb8, number, number >> 8, 0, 0, 0x0f, 0x05, 0xc3};
	memcpy(at, code, sizeof code);
	return (code_t)at;
}
