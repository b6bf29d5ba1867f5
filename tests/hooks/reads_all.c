/* Takes the arguments of calls for addresses, by turns, before and behind them, and reads there. */
#include <hotpatch.h>

static int look(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	static volatile unsigned turns;
	const uint64_t places[] = {frame->rdi, frame->rsi, frame->rdx, frame->r10, frame->r8, frame->r9};
	unsigned turn = turns++;
	uint8_t bytes[48];
	int64_t done = (turn & 1 ? context->services->read : context->services->read_string)(bytes, places[turn / 2 % 6], sizeof bytes);
	return done == 0 || done > (int64_t)sizeof bytes || (done < 0 && done != -14);
}

#define LOOK look
#include "bearable.h"

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	if (look(context, frame)) __builtin_trap();
	trash();
	return HOTPATCH_RUN_AND_RETURN;
}

HOOK("reads_all", 0);
