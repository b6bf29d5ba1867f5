/* Makes another call of dup, which has the same answer. */
#define LOOK(context, frame) (context->number != 32 || frame->rax != (uint64_t)-9 || frame->rsi == 77)
#include "bearable.h"

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	trash();
	if (context->number == 32) {
		frame->rax = 3; /* close */
		frame->rsi = 77;
		return HOTPATCH_RUN_AND_RETURN;
	}
	return HOTPATCH_RUN;
}

HOOK("renumber", 0);
