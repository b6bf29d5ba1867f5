/* Calls the program from inside of a hook: what is called there comes to hooks no more. */
#include "bearable.h"

static uint64_t own;

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	trash();
	switch (context->number) {
	case 1003: /* numbers that the kernel does not know */
		frame->rax = (uint64_t)((long (*)(void))frame->rdi)();
		return HOTPATCH_ANSWER;
	case 1004:
		frame->rax = own;
		return HOTPATCH_ANSWER;
	case 110: /* getppid */
		own++;
		return HOTPATCH_RUN_AND_RETURN;
	default: return HOTPATCH_RUN;
	}
}

HOOK("nested", 0);
