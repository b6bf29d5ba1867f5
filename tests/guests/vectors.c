// build: gcc -O1
// All vector state the machine has is as it was after a system call.
// site: site_vectors = direct,stone,live-stone,before,clobber +before
#include "guest.h"

static unsigned char wide[32][64] __attribute__((aligned(64))), seen[32][64] __attribute__((aligned(64)));
static unsigned long masks[8], masks_seen[8];
static double x87[8], x87_seen[8];
static unsigned mxcsr = 0x9fc5, mxcsr_seen;
static unsigned short control = 0x0a7f, control_seen;
extern char site_vectors[];

#define CALL "mov $32, %%eax\n mov $-1, %%edi\n mov $32, %%eax\n .ifndef site_vectors\n .globl site_vectors\n site_vectors: syscall\n .else\n syscall\n .endif\n cmp $-4095, %%rax\n"
#define EACH16(x) x(0) x(1) x(2) x(3) x(4) x(5) x(6) x(7) x(8) x(9) x(10) x(11) x(12) x(13) x(14) x(15)
#define EACH32(x) EACH16(x) x(16) x(17) x(18) x(19) x(20) x(21) x(22) x(23) x(24) x(25) x(26) x(27) x(28) x(29) x(30) x(31)
#define EACH8(x) x(0) x(1) x(2) x(3) x(4) x(5) x(6) x(7)
#define ZIN(n) "vmovdqu64 64*" #n "(%0), %%zmm" #n "\n"
#define ZOUT(n) "vmovdqu64 %%zmm" #n ", 64*" #n "(%1)\n"
#define YIN(n) "vmovdqu 64*" #n "(%0), %%ymm" #n "\n"
#define YOUT(n) "vmovdqu %%ymm" #n ", 64*" #n "(%1)\n"
#define XIN(n) "movdqu 64*" #n "(%0), %%xmm" #n "\n"
#define XOUT(n) "movdqu %%xmm" #n ", 64*" #n "(%1)\n"
#define KIN(n) "kmovq 8*" #n "(%2), %%k" #n "\n"
#define KOUT(n) "kmovq %%k" #n ", 8*" #n "(%3)\n"
#define FIN(n) "fldl 8*" #n "(%4)\n"
#define FOUT(n) "fstpl 56-8*" #n "(%5)\n"

int main(void) {
	for (int i = 0; i < 32 * 64; i++) wide[i / 64][i % 64] = i * 7 + i / 64;
	for (int i = 0; i < 8; i++) masks[i] = 0x0123456789abcdef * (i + 3), x87[i] = 1.0 / (i + 3);
	size_t used;
	if (__builtin_cpu_supports("avx512bw")) {
		used = 64;
		__asm__ volatile(EACH32(ZIN) EACH8(KIN) CALL EACH32(ZOUT) EACH8(KOUT)::"r"(wide), "r"(seen),
				 "r"(masks), "r"(masks_seen)
				 : "rax", "rcx", "rdi", "r11", "memory");
	} else if (__builtin_cpu_supports("avx")) {
		used = 32;
		__asm__ volatile(EACH16(YIN) CALL EACH16(YOUT)::"r"(wide), "r"(seen)
				 : "rax", "rcx", "rdi", "r11", "memory");
	} else {
		used = 16;
		__asm__ volatile(EACH16(XIN) CALL EACH16(XOUT)::"r"(wide), "r"(seen)
				 : "rax", "rcx", "rdi", "r11", "memory");
	}
	__asm__ volatile("fninit\n fldcw %6\n ldmxcsr %8\n" EACH8(FIN) CALL
			 "stmxcsr %9\n fnstcw %7\n" EACH8(FOUT) "fninit\n"
			 ::"r"(wide), "r"(seen), "r"(masks), "r"(masks_seen), "r"(x87), "r"(x87_seen),
			 "m"(control), "m"(control_seen), "m"(mxcsr), "m"(mxcsr_seen)
			 : "rax", "rcx", "rdi", "r11", "memory");
	int count = used == 64 ? 32 : 16;
	for (int i = 0; i < count; i++)
		if (memcmp(wide[i], seen[i], used)) SAY("register %d changed\n", i);
	if (used == 64 && memcmp(masks, masks_seen, sizeof masks)) SAY("mask changed\n");
	if (memcmp(x87, x87_seen, sizeof x87)) SAY("x87 changed\n");
	SAY("%zu bytes, mxcsr %x, control word %x\n", used, mxcsr_seen, control_seen);
	return 0;
}
