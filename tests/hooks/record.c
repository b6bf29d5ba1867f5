/* Changes an argument that the kernel does not look at and wants to see the result: every call leaves a record on the
 * program's stack, and the program gets its own argument back. */
#include "bearable.h"

/* The calls whose sixth argument the kernel reads. */
static bool has_six(uint32_t number) {
	switch (number) {
	case 9: case 44: case 45: case 202: case 237: case 257: case 270: case 279: case 275: case 281: case 298: case 310: case 311:
	case 326: case 327: case 328: case 426: case 441: case 449: case 454: case 455: return true;
	default: return number >= 335;
	}
}

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	trash();
	if (!has_six(context->number)) frame->r9 ^= 0x5555;
	return HOTPATCH_RUN_AND_RETURN;
}

HOOK("record", 0);
