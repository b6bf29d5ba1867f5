/* A hook on one call: the bench says which, what it answers and what it declares. */
#include <hotpatch.h>

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	(void)context;
	if (VERDICT == HOTPATCH_ANSWER) frame->rax = 1;
	return VERDICT;
}

static void after(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	(void)context;
	(void)frame;
}

__attribute__((visibility("default"))) const hotpatch_hook_t hotpatch_hook = {
	.abi = HOTPATCH_ABI,
	.size = sizeof(hotpatch_hook_t),
	.name = "bench",
	.flags = FLAGS,
	.vectors = VECTORS,
	.syscalls = {{[NUMBER / 64] = 1ul << NUMBER % 64}, 0},
	.before = before,
	.after = after,
};
