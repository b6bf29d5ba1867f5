/* Runs a body of assembly between two snapshots of every register.
 *
 *   VARIANT(name, body)      defines it; the body labels its site `site_name`
 *   run(name)                prints what differs from what went in
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct frame {
	unsigned long r[16], flags, red[16];
};
struct frame in, out;
unsigned long saved_rsp, scratch[8] = {7, 7, 7, 7, 7, 7, 7, 7};

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
				    "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

__asm__(".macro LOAD\n"
	"  push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"  push in+128(%rip); popfq\n"
	"  mov %rsp, saved_rsp(%rip)\n"
	"  movq $0x11111111, -8(%rsp);   movq $0x22222222, -16(%rsp)\n"
	"  movq $0x33333333, -24(%rsp);  movq $0x44444444, -32(%rsp)\n"
	"  movq $0x55555555, -40(%rsp);  movq $0x66666666, -48(%rsp)\n"
	"  movq $0x77777777, -56(%rsp);  movq $0x12345678, -64(%rsp)\n"
	"  movq $0x23456789, -72(%rsp);  movq $0x3456789a, -80(%rsp)\n"
	"  movq $0x456789ab, -88(%rsp);  movq $0x56789abc, -96(%rsp)\n"
	"  movq $0x6789abcd, -104(%rsp); movq $0x789abcde, -112(%rsp)\n"
	"  movq $0x0abcdef0, -120(%rsp); movq $0x0bcdef01, -128(%rsp)\n"
	"  mov in(%rip), %rax;     mov in+8(%rip), %rcx;   mov in+16(%rip), %rdx\n"
	"  mov in+24(%rip), %rbx;  mov in+40(%rip), %rbp;  mov in+48(%rip), %rsi\n"
	"  mov in+56(%rip), %rdi;  mov in+64(%rip), %r8;   mov in+72(%rip), %r9\n"
	"  mov in+80(%rip), %r10;  mov in+88(%rip), %r11;  mov in+96(%rip), %r12\n"
	"  mov in+104(%rip), %r13; mov in+112(%rip), %r14; mov in+120(%rip), %r15\n"
	".endm\n"
	".macro DUMP\n"
	"  mov %rax, out(%rip);     mov %rcx, out+8(%rip);   mov %rdx, out+16(%rip)\n"
	"  mov %rbx, out+24(%rip);  mov %rsp, out+32(%rip);  mov %rbp, out+40(%rip)\n"
	"  mov %rsi, out+48(%rip);  mov %rdi, out+56(%rip);  mov %r8, out+64(%rip)\n"
	"  mov %r9, out+72(%rip);   mov %r10, out+80(%rip);  mov %r11, out+88(%rip)\n"
	"  mov %r12, out+96(%rip);  mov %r13, out+104(%rip); mov %r14, out+112(%rip)\n"
	"  mov %r15, out+120(%rip)\n"
	"  mov saved_rsp(%rip), %rsp\n"
	"  .irp n,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16\n"
	"  mov -8*\\n(%rsp), %rax; mov %rax, out+136-8+8*\\n(%rip)\n"
	"  .endr\n"
	"  pushfq; pop out+128(%rip)\n"
	"  push $2; popfq\n"
	"  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"  ret\n"
	".endm\n");

/* The site is found through its distance from the function: were its address taken, the planner
 * would be right to think that somebody decides by it. */
#define VARIANT(name, body)                                                                        \
	extern const volatile int offset_##name;                                                   \
	void name(void);                                                                           \
	__asm__(".text\n.globl " #name ", site_" #name "\n.type " #name ", @function\n" #name      \
		":\n.cfi_startproc\nLOAD\n" body "\nDUMP\n.cfi_endproc\n.size " #name ", .-" #name \
		"\n.pushsection .rodata\n.balign 4\noffset_" #name ": .long site_" #name "-" #name \
		"\n.popsection\n")
#define SITE_OF(name) ((char *)name + offset_##name)
/* Dead bytes behind the function, where stones can lie. */
#define PAD __asm__(".skip 32, 0xcc")

static void fill(unsigned long number, unsigned long flags) {
	for (int i = 0; i < 16; i++) in.r[i] = 0x1111111111111111ul * i + 0x0123456789ul;
	in.r[RAX] = number;
	in.r[RDI] = -1ul;
	in.flags = flags;
}

/* `site` is the address of the instruction, for rcx. */
static void show(const char *name, const char *site) {
	printf("%s:", name);
	for (int i = 0; i < 16; i++) {
		unsigned long was = i == RSP ? saved_rsp : in.r[i], is = out.r[i];
		if (i == RCX && is == (unsigned long)site + 2) printf(" rcx=next");
		else if (i == R11 && is == in.flags) printf(" r11=flags");
		else if (is != was) printf(" %s=%lx", names[i], i == RSP ? is - was : is);
	}
	if (out.flags != in.flags) printf(" flags=%lx", out.flags ^ in.flags);
	static const unsigned long red[] = {0x11111111, 0x22222222, 0x33333333, 0x44444444,
					    0x55555555, 0x66666666, 0x77777777, 0x12345678,
					    0x23456789, 0x3456789a, 0x456789ab, 0x56789abc,
					    0x6789abcd, 0x789abcde, 0x0abcdef0, 0x0bcdef01};
	if (memcmp(red, out.red, sizeof red)) printf(" red zone changed");
	for (int i = 0; i < 8; i++)
		if (scratch[i] != 7) printf(" scratch[%d]=%lx", i, scratch[i]), scratch[i] = 7;
	printf("\n");
	memset(&out, 0, sizeof out);
}

#define RUN(name) (name(), show(#name, SITE_OF(name)))
