#define BEAR bear
#define START begin
static void bear(void);
#include "hosted.h"

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	if (frame->rip != context->site->address || (uint32_t)frame->rax != context->number) __builtin_trap();
	bear();
	trash();
	return HOTPATCH_RUN;
}

HOOK("hosted_run", 0);
