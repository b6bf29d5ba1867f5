/* Changes every argument of dup; the kernel's answer is the same. */
#include "bearable.h"

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	trash();
	if (context->number == 32) {
		frame->rdi = -2;
		frame->rsi = frame->rdx = frame->r10 = frame->r8 = frame->r9 = 0x123456789abcdef;
	}
	return HOTPATCH_RUN;
}

HOOK("change", 0);
