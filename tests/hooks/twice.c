/* The second of a chain: doubles the offset of lseek, and its result. */
#define LOOK(context, frame) (context->number != 8 || !(frame->rax *= 2))
#include "bearable.h"

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	trash();
	if (context->number != 8) return HOTPATCH_RUN;
	frame->rsi *= 2;
	return HOTPATCH_RUN_AND_RETURN;
}

HOOK("twice", 0);
