#include "bearable.h"

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	trash();
	if (context->number != 32) return HOTPATCH_RUN;
	frame->rax = -9;
	return HOTPATCH_ANSWER;
}

HOOK("answer_reads", HOTPATCH_READS_ONLY);
