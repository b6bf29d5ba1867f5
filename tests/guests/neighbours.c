// build: gcc -O1
// Each kind of instruction that depends on where it is, before and behind a site.
// site: site_rip_load = direct,stone,live-stone,before,clobber +clobber
// site: site_rip_store = direct,stone,live-stone,before,clobber +clobber
// site: site_rip_cmp = direct,stone,live-stone,before,clobber +clobber
// site: site_rip_imm = direct,stone,live-stone,before,clobber +clobber
// site: site_rip_imm8 = direct,stone,live-stone,before,clobber +clobber
// site: site_rip_lea = direct,stone,live-stone,before,clobber +clobber
// site: site_rip_sse = direct,stone,live-stone,before,clobber +clobber
// site: site_rip_push = direct,stone,live-stone,before,clobber +clobber
// site: site_rip_before = direct,stone,live-stone,before,clobber +clobber +before
// site: site_jcc_short = direct,stone,live-stone,before,clobber +clobber
// site: site_jcc_near = direct,stone,live-stone,before,clobber +clobber
// site: site_jmp_short = direct,stone,live-stone,before,clobber +clobber
// site: site_jmp_near = direct,stone,live-stone,before,clobber +clobber
// site: site_looped = direct,stone,live-stone,before,clobber +clobber
// site: site_looped_e = direct,stone,live-stone,before,clobber +clobber
// site: site_jrcxz = direct,stone,live-stone,before,clobber +clobber
// site: site_jecxz = direct,stone,live-stone,before,clobber +clobber
// site: site_called = direct,stone,live-stone,before,clobber
// site: site_call_rip = direct,stone,live-stone,before,clobber
// site: site_jmp_rip = direct,stone,live-stone,before,clobber +clobber
#include "frame.h"

#define SITE(name) "xchg %rax, %r12\n xchg %rax, %r12\n site_" #name ": syscall\n"

VARIANT(rip_load, SITE(rip_load) "mov scratch(%rip), %rdx");
VARIANT(rip_store, SITE(rip_store) "mov %r12, scratch(%rip)");
VARIANT(rip_cmp, SITE(rip_cmp) "cmp scratch(%rip), %rax");
VARIANT(rip_imm, SITE(rip_imm) "movq $0x12345678, scratch+8(%rip)");
VARIANT(rip_imm8, SITE(rip_imm8) "addb $1, scratch+16(%rip)");
VARIANT(rip_lea, SITE(rip_lea) "lea scratch(%rip), %rdx\n mov (%rdx), %rdx");
VARIANT(rip_sse, SITE(rip_sse) "movdqu scratch(%rip), %xmm0\n movq %xmm0, %rdx");
VARIANT(rip_push, SITE(rip_push) "pushq scratch(%rip)\n pop %rdx\n movq $0x11111111, -8(%rsp)");
VARIANT(rip_before, "mov scratch(%rip), %rdx\n site_rip_before: syscall\n xchg %rax, %r12");
VARIANT(jcc_short, SITE(jcc_short) "js 1f\n mov $5, %edx\n 1: xchg %r13, %r14");
VARIANT(jcc_near, SITE(jcc_near) "{disp32} js 1f\n mov $5, %edx\n .skip 200, 0x90\n 1: xchg %r13, %r14");
VARIANT(jmp_short, SITE(jmp_short) "{disp8} jmp 1f\n mov $5, %edx\n 1: xchg %r13, %r14");
VARIANT(jmp_near, SITE(jmp_near) "{disp32} jmp 1f\n mov $5, %edx\n 1: xchg %r13, %r14");
VARIANT(looped, SITE(looped) "loop 1f\n mov $5, %edx\n 1: xchg %r13, %r14\n xor %ecx, %ecx");
VARIANT(looped_e, "mov $4, %ecx\n mov %ecx, %r12d\n" "site_looped_e: syscall\n loope 1f\n mov $5, %edx\n 1: xchg %r13, %r14\n sub %rcx, %rcx");
VARIANT(jrcxz, "xor %ecx, %ecx\n" SITE(jrcxz) "jrcxz 1f\n mov $5, %edx\n 1: xchg %r13, %r14");
VARIANT(jecxz, SITE(jecxz) "jecxz 1f\n mov $5, %edx\n 1: xchg %r13, %r14");
VARIANT(called, SITE(called) "call callee_of_called\n after_called: movq $0x11111111, -8(%rsp)\n");
VARIANT(call_rip, SITE(call_rip) "call *callee_call_rip(%rip)\n after_call_rip: movq $0x11111111, -8(%rsp)\n");
VARIANT(jmp_rip, SITE(jmp_rip) "jmp *onward_jmp_rip(%rip)\n mov $5, %edx\n beyond_jmp_rip: xchg %r13, %r14");
/* A callee sees the address that its caller's source says, so that it can look up tables by it. */
__asm__(".text\n.type callee_of_called, @function\ncallee_of_called: .cfi_startproc\n"
	" lea after_called(%rip), %r9\n sub (%rsp), %r9\n ret\n.cfi_endproc\n.size callee_of_called, .-callee_of_called\n"
	".type callee_of_call_rip, @function\ncallee_of_call_rip: .cfi_startproc\n"
	" lea after_call_rip(%rip), %r9\n sub (%rsp), %r9\n ret\n.cfi_endproc\n.size callee_of_call_rip, .-callee_of_call_rip\n"
	".data\n.balign 8\ncallee_call_rip: .quad callee_of_call_rip\nonward_jmp_rip: .quad beyond_jmp_rip\n.text\n");

#define GO(name) (fill(32, 0x202), RUN(name))

int main(void) {
	GO(rip_load), GO(rip_store), GO(rip_cmp), GO(rip_imm), GO(rip_imm8), GO(rip_lea), GO(rip_sse);
	GO(rip_push), GO(rip_before), GO(jcc_short), GO(jcc_near), GO(jmp_short), GO(jmp_near);
	GO(looped), GO(looped_e), GO(jrcxz), GO(jecxz), GO(called), GO(call_rip), GO(jmp_rip);
	return 0;
}
