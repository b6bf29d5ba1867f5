// build: gcc -O1
// clone(CLONE_VM) and clone3 by the bare instruction: the child wakes on a stack of 128 bytes right behind it.
// site: site_clone = direct,stone,live-stone,before,clobber +before +clobber
// site: site_clone3 = direct,stone,live-stone,before,clobber +before +clobber
// site: site_thread = direct,stone,live-stone,before,clobber +before +clobber
#include "guest.h"
#include <linux/sched.h>
#undef CLONE_VM
#define CLONE_VM 0x100

long on_clone(long flags, void *stack), on_clone3(struct clone_args *args, long size);
long on_thread(long flags, void *stack, void *parent_tid, void *child_tid);
int child_done, thread_tid;
/* The child writes what it sees and leaves without using more of its stack than one word. */
__asm__(".text\n.globl on_clone, on_clone3, on_thread, site_clone, site_clone3, site_thread\n"
	".type on_clone, @function\non_clone: .cfi_startproc\n"
	" xor %edx, %edx\n xor %r10d, %r10d\n xor %r8d, %r8d\n mov $56, %eax\nsite_clone: syscall\n"
	" test %rax, %rax\n jz child\n ret\n.cfi_endproc\n.size on_clone, .-on_clone\n"
	".type on_clone3, @function\non_clone3: .cfi_startproc\n"
	" mov $435, %eax\nsite_clone3: syscall\n test %rax, %rax\n jz child\n ret\n.cfi_endproc\n.size on_clone3, .-on_clone3\n"
	".type on_thread, @function\non_thread: .cfi_startproc\n"
	" mov %rcx, %r10\n xor %r8d, %r8d\n mov $56, %eax\nsite_thread: syscall\n"
	" test %rax, %rax\n jz child\n ret\n.cfi_endproc\n.size on_thread, .-on_thread\n"
	".type child, @function\nchild: .cfi_startproc\n .cfi_undefined %rip\n push $42\n pop %rdi\n lock incl child_done(%rip)\n mov $60, %eax\n syscall\n ud2\n"
	".cfi_endproc\n.size child, .-child\n");
static char stack[4096] __attribute__((aligned(16)));

int main(void) {
	for (int i = 0; i < 100; i++) {
		memset(stack, 0x5a, sizeof stack);
		char *top = stack + 2048;
		long pid = on_clone(CLONE_VM | SIGCHLD, top);
		int status = 0;
		waitpid(pid, &status, 0);
		int used = 0;
		for (int j = 0; j < 4096; j++)
			if (stack[j] != 0x5a) used++;
		struct clone_args args = {.flags = CLONE_VM, .exit_signal = SIGCHLD, .stack = (long)stack, .stack_size = 2048};
		long pid3 = on_clone3(&args, sizeof args);
		int status3 = 0;
		waitpid(pid3, &status3, 0);
		if (i == 0 || status != 42 << 8 || status3 != 42 << 8)
			SAY("clone %x, clone3 %x, stack bytes changed %d\n", status, status3, used);
	}
	SAY("children %d\n", child_done);
	/* CLONE_VM|FS|FILES|SIGHAND|THREAD|SYSVSEM|PARENT_SETTID|CHILD_CLEARTID */
	for (int i = 0; i < 100; i++) {
		thread_tid = 0;
		long tid = on_thread(0x350f00, stack + 2048, &thread_tid, &thread_tid);
		if (tid < 0) SAY("thread: %ld\n", tid);
		for (int was; (was = __atomic_load_n(&thread_tid, __ATOMIC_ACQUIRE));)
			syscall(SYS_futex, &thread_tid, 0, was, NULL, NULL, 0);
	}
	SAY("children and threads %d\n", child_done);
	return 0;
}
