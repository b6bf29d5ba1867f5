// build: gcc -O1
// Sites across pages and cache lines, closer than 8 bytes to each other, and as the last bytes of a function and of a section.
// site: site_page = direct,stone,live-stone,before,clobber
// site: site_line = direct,stone,live-stone,before,clobber
// site: site_word = direct,stone,live-stone,before,clobber
// site: site_near_1 = direct,stone,live-stone,before,clobber
// site: site_near_2 = direct,stone,live-stone,before,clobber
// site: site_near_3 = direct,stone,live-stone,before,clobber
// site: site_last = direct,stone,live-stone,before,clobber
// site: site_end = direct,stone,live-stone,before,clobber,refused
#include "frame.h"

VARIANT(page, "jmp 1f\n .balign 4096, 0xcc\n .skip 4090, 0xcc\n 1: mov $32, %eax\n site_page: syscall\n test %rax, %rax\n test %rax, %rax");
VARIANT(line, "jmp 1f\n .balign 64, 0xcc\n .skip 58, 0xcc\n 1: mov $32, %eax\n site_line: syscall\n test %rax, %rax\n test %rax, %rax");
VARIANT(word, "jmp 1f\n .balign 64, 0xcc\n .skip 18, 0xcc\n 1: mov $32, %eax\n site_word: syscall\n test %rax, %rax\n test %rax, %rax");
VARIANT(near_1, "site_near_1: syscall\n push $32\n pop %rax\n site_near_2: syscall\n push $32\n pop %rax\n site_near_3: syscall\n movq $0x11111111, -8(%rsp)");
/* Four in a row, with nothing between. */
VARIANT(row, "site_row: syscall\n syscall\n syscall\n syscall\n mov %rax, %rdx");
/* The process ends in these: nothing follows them that could be used. */
void last(void), end(void);
__asm__(".text\n.globl last, site_last\n.type last, @function\nlast: .cfi_startproc\n"
	" mov $5, %edi\n xor %eax, %eax\n mov $60, %al\nsite_last: syscall\n.cfi_endproc\n.size last, .-last\n"
	".type behind, @function\nbehind: .cfi_startproc\n push %rbx\n pop %rbx\n ret\n.cfi_endproc\n.size behind, .-behind\n"
	".section .zz_last, \"ax\", @progbits\n.globl end, site_end\n.type end, @function\nend: .cfi_startproc\n"
	" mov $6, %edi\n xor %eax, %eax\n mov $60, %al\nsite_end: syscall\n.cfi_endproc\n.size end, .-end\n.text\n");

#include <sys/wait.h>
int main(void) {
	printf("%lx %lx\n", (unsigned long)SITE_OF(page) & 4095, (unsigned long)SITE_OF(line) & 63);
	for (int i = 0; i < 3; i++) {
		fill(32, 0x202), RUN(page);
		fill(32, 0x202), RUN(line);
		fill(32, 0x202), RUN(word);
		fill(32, 0x202), near_1(), saved_rsp = out.r[RSP];
		printf("near %ld\n", (long)out.r[RAX]);
		fill(-1ul, 0x202), row();
		printf("row %ld\n", (long)out.r[RAX]);
	}
	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		int status;
		if (fork() == 0) i ? end() : last();
		wait(&status);
		printf("%x\n", status);
		fflush(stdout);
	}
	return 0;
}
