/* Takes its time before and behind every call, so that signals land in it. */
#include "bearable.h"

static void spin(void) {
	for (volatile int i = 0; i < 500; i++) continue;
}

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	(void)context, (void)frame;
	spin();
	return HOTPATCH_RUN_AND_RETURN;
}

static void behind(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	spin();
	after(context, frame);
}

#undef HOOK
__attribute__((visibility("default"))) const hotpatch_hook_t hotpatch_hook = {
	.abi = HOTPATCH_ABI,
	.size = sizeof(hotpatch_hook_t),
	.name = "slow",
	.syscalls = {{~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul}, 1},
	.before = before,
	.after = behind,
};
