// build: gcc -O1
// A restartable sequence with a site near it: what lies inside must not move, or it is no longer restarted.
// site: site_rseq = direct,stone,live-stone,before,clobber
#include "guest.h"
#include <linux/rseq.h>
#include <stddef.h>

extern const ptrdiff_t __rseq_offset;
extern char site_rseq[];
long sequence(struct rseq *area, volatile long *count, long *aborts, long rounds);
__asm__(".pushsection __rseq_cs, \"aw\"\n.balign 32\ndescriptor: .long 0, 0\n.quad begin, commit-begin, aborted\n.popsection\n"
	".text\n.globl sequence, site_rseq\n.type sequence, @function\nsequence: .cfi_startproc\n"
	" push %rbx\n push %r12\n push %r13\n push %r14\n mov %rdi, %rbx\n mov %rsi, %r12\n mov %rdx, %r13\n mov %rcx, %r14\n"
	"1: lea descriptor(%rip), %rax\n mov %rax, 8(%rbx)\n"
	"begin: mov (%r12), %rdx\n mov $200, %ecx\n2: dec %ecx\n jnz 2b\n inc %rdx\n mov %rdx, (%r12)\ncommit:\n"
	" mov $-1, %edi\n push $32\n pop %rax\nsite_rseq: syscall\n dec %r14\n jnz 1b\n"
	" pop %r14\n pop %r13\n pop %r12\n pop %rbx\n ret\n"
	" .byte 0x0f, 0xb9, 0x3d\n .long 0x53053053\naborted: incq (%r13)\n jmp 1b\n.cfi_endproc\n.size sequence, .-sequence\n");
static volatile int signals;
static void handler(int number) { (void)number; signals++; }

int main(void) {
	struct rseq *area = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
	signal(SIGALRM, handler);
	struct itimerval timer = {{0, 500}, {0, 500}};
	setitimer(ITIMER_REAL, &timer, NULL);
	long count = 0, aborts = 0;
	sequence(area, &count, &aborts, 300000);
	struct itimerval none = {0};
	setitimer(ITIMER_REAL, &none, NULL);
	SAY("%ld, aborted %d\n", count, aborts > 0);
	return 0;
}
