/* A hook on every call that changes every register it may and leaves the program's alone. */
#include <hotpatch.h>

#ifndef KINDS
#define KINDS 0
#endif

#ifndef CALLS
#define CALLS {{~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul}, 1}
#endif

#ifndef START
#define START 0
#endif

#define HOOK(name_, flags_)                                                                        \
	__attribute__((visibility("default"))) const hotpatch_hook_t hotpatch_hook = {             \
		.abi = HOTPATCH_ABI,                                                               \
		.size = sizeof(hotpatch_hook_t),                                                   \
		.name = name_,                                                                     \
		.flags = flags_,                                                                   \
		.syscalls = CALLS,                                                                 \
		.kinds = KINDS,                                                                    \
		.start = START,                                                                    \
		.before = before,                                                                  \
		.after = after,                                                                    \
	}

/* All that a called function may change, flags included. */
static inline void trash(void) {
	__asm__ volatile("mov $-1, %%rax\n mov %%rax, %%rcx\n mov %%rax, %%rdx\n mov %%rax, %%rsi\n"
			 "mov %%rax, %%rdi\n mov %%rax, %%r8\n mov %%rax, %%r9\n mov %%rax, %%r10\n"
			 "mov %%rax, %%r11\n add $1, %%eax\n stc"
			 ::: "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cc", "memory");
}

static void after(hotpatch_context_t *context, hotpatch_frame_t *frame) {
#ifdef LOOK
	if (LOOK(context, frame)) __builtin_trap();
#endif
	if (frame->rip != context->site->address + context->site->len) __builtin_trap();
#ifdef BEAR
	BEAR();
#endif
	trash();
}
