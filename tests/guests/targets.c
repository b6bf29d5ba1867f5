// build: gcc -O1
// Somebody jumps to the address behind a site, or into the instruction before it.
// site: site_direct_branch = direct,stone,live-stone,before,clobber
// site: site_table = direct,stone,live-stone,before,clobber,evict
// site: site_pointer = refused -clobber -evict
// site: site_relative = direct,stone,live-stone,before,clobber
// site: site_lock = direct,stone,live-stone,before,clobber,evict
// site: site_to_site = direct,stone,live-stone,clobber,evict -before
// site: site_landing = direct,stone,live-stone,before,clobber,evict,refused
#include "frame.h"

unsigned long turn;
/* A branch elsewhere goes to site + 2, so that a jump over both must take it along. */
VARIANT(direct_branch, "cmpq $0, turn(%rip)\n jne 1f\n xchg %rax, %r12\n xchg %rax, %r12\n site_direct_branch: syscall\n 1: xchg %r13, %r14\n xchg %rsi, %r14");
/* A relocated table holds site + 2. */
VARIANT(table, "lea entries(%rip), %rdx\n mov turn(%rip), %r9\n jmp *(%rdx,%r9,8)\n 0: xchg %rax, %r12\n xchg %rax, %r12\n site_table: syscall\n behind_table: xchg %r13, %r14\n xchg %rsi, %r14\n"
	".pushsection .data.rel.ro, \"aw\"\n.balign 8\nentries: .quad 0b, behind_table\n.popsection");
/* A table of 32-bit distances, as compilers make for switch. */
VARIANT(relative, "lea distances(%rip), %rdx\n mov turn(%rip), %r9\n movslq (%rdx,%r9,4), %r9\n add %r9, %rdx\n jmp *%rdx\n 0: xchg %rax, %r12\n xchg %rax, %r12\n site_relative: syscall\n behind_relative: xchg %r13, %r14\n xchg %rsi, %r14\n"
	".pushsection .rodata\n.balign 4\ndistances: .long 0b-distances, behind_relative-distances\n.popsection");
/* Its address is taken by lea and jumped to. */
VARIANT(pointer, "lea 0f(%rip), %rdx\n lea behind_pointer(%rip), %r9\n cmpq $0, turn(%rip)\n cmovne %r9, %rdx\n xor %r9d, %r9d\n jmp *%rdx\n 0: xchg %rax, %r12\n xchg %rax, %r12\n site_pointer: syscall\n behind_pointer: xchg %r13, %r14\n xchg %rsi, %r14");
/* The branch goes over a `lock` prefix, into the instruction. */
VARIANT(lock, "cmpq $0, turn(%rip)\n jne 1f+1\n xchg %rax, %r12\n xchg %rax, %r12\n site_lock: syscall\n 1: lock incq scratch(%rip)\n xchg %rsi, %r14");
/* A loop that goes straight to the site. */
VARIANT(to_site, "mov $3, %r9d\n mov $32, %eax\n site_to_site: syscall\n dec %r9d\n jnz site_to_site\n xchg %r13, %r14");
/* `endbr64` behind it: reached through a pointer that nobody shows. */
VARIANT(landing, "lea landing_end(%rip), %rdx\n sub $landing_end-behind_landing, %rdx\n cmpq $0, turn(%rip)\n je 0f\n jmp *%rdx\n 0: xchg %rax, %r12\n xchg %rax, %r12\n site_landing: syscall\n behind_landing: endbr64\n landing_end: xchg %rsi, %r14\n xor %edx, %edx");

int main(void) {
	for (int i = 0; i < 6; i++) {
		turn = i & 1;
		fill(32, 0x202), RUN(direct_branch);
		fill(32, 0x202), table(), out.r[RDX] = in.r[RDX], show("table", SITE_OF(table));
		fill(32, 0x202), RUN(lock);
		fill(32, 0x202), RUN(to_site);
		fill(32, 0x202), RUN(landing);
		fill(32, 0x202), relative(), out.r[RDX] = in.r[RDX], out.r[R9] = in.r[R9], show("relative", SITE_OF(relative));
		fill(32, 0x202), pointer(), out.r[RDX] = in.r[RDX], out.r[R9] = in.r[R9], show("pointer", SITE_OF(pointer));
	}
	return 0;
}
