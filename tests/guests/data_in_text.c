// build: gcc -O1
// Bytes that look like the instruction: inside other instructions and in tables that lie in the text.
// site: site_real = direct,stone,live-stone,before,clobber +before
#include "guest.h"

extern char site_real[];
extern const unsigned char text_table[];
extern const int text_table_size;
unsigned constants(void);
long real(long number, long a);
__asm__(".text\n.globl constants, text_table, text_table_size, real, site_real\n"
	".type constants, @function\nconstants: .cfi_startproc\n mov $0x050f050f, %eax\n add $0x00050f00, %eax\n"
	" lea 0x50f(%rax), %eax\n xor $0x0f050f05, %eax\n ret\n.cfi_endproc\n.size constants, .-constants\n"
	".type text_table, @object\ntext_table: .byte 1,2,3,0x0f,0x05,0xc3,0x90,0x0f,0x05,0x0f,0x05,0x48,0x3d,0x01,0xf0,0xff,0xff,0x0f,0x05\n"
	".quad 0x050f050f050f050f, 0x0f050f050f050f05, 0x1122334455660f05\n.size text_table, .-text_table\n"
	"text_table_size: .long .-text_table\n"
	".type real, @function\nreal: .cfi_startproc\n mov %rdi, %rax\n mov %rsi, %rdi\n mov $32, %eax\nsite_real: syscall\n cmp $-4095, %rax\n ret\n.cfi_endproc\n.size real, .-real\n");

int main(void) {
	unsigned long sum = 0;
	for (int i = 0; i < text_table_size; i++) sum = sum * 31 + text_table[i];
	SAY("%x %d %lx %ld\n", constants(), text_table_size, sum, real(32, -1));
	return 0;
}
