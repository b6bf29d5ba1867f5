/* Waits in a hook for the debugger, three calls deep, where the program reads from descriptor 0. */
#include <asm/unistd.h>

#include "hotpatch.h"

static volatile int waits = 1;

__attribute__((noinline)) static int wait_for_it(int depth) {
	if (depth > 0) return wait_for_it(depth - 1) + 1;
	while (waits) __builtin_ia32_pause();
	return depth;
}

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	if (context->number == __NR_read && frame->rdi == 0) wait_for_it(2);
	return HOTPATCH_RUN;
}

const hotpatch_hook_t hotpatch_hook = {
	.abi = HOTPATCH_ABI,
	.size = sizeof(hotpatch_hook_t),
	.name = "waits",
	.syscalls = HOTPATCH_ALL_SYSCALLS,
	.before = before,
};
