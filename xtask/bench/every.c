/* A hook on every call, which looks at it and lets it run. */
#include <hotpatch.h>

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	(void)context, (void)frame;
	return HOTPATCH_RUN;
}

const hotpatch_hook_t hotpatch_hook = {
	.abi = HOTPATCH_ABI,
	.size = sizeof(hotpatch_hook_t),
	.name = "every",
	.flags = HOTPATCH_ARGUMENTS_ONLY | HOTPATCH_READS_ONLY,
	.syscalls = HOTPATCH_ALL_SYSCALLS,
	.before = before,
};
