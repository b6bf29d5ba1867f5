/* Hears of signals, and sees to it that what is told of them fits together: tests/guests/heard.c asks for the counts. */
#include <hotpatch.h>

static uint64_t told[16];

/* Signals wait while a hook runs, and while it hears of one. */
static void enter(hotpatch_context_t *context) {
	if (*context->slot & 1 << 31) __builtin_trap();
	*context->slot |= 1u << 31;
}
static void leave(hotpatch_context_t *context) { *context->slot &= ~(1ul << 31); }

static int look(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	(void)frame;
	enter(context);
	leave(context);
	return 0;
}

#define LOOK look
#include "bearable.h"

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	if (look(context, frame) || context->signal) __builtin_trap();
	if (context->number == 1003) {
		frame->rax = frame->rdi < 16 ? __atomic_load_n(&told[frame->rdi], __ATOMIC_SEQ_CST) : 0;
		return HOTPATCH_ANSWER;
	}
	trash();
	return HOTPATCH_RUN_AND_RETURN;
}

static void hear(hotpatch_context_t *context, uint32_t event) {
	const hotpatch_signal_t *signal = context->signal;
	int heard = event == HOTPATCH_SIGNAL || event == HOTPATCH_SIGNAL_RETURN;
	if (!heard != !signal) __builtin_trap();
	if (!heard) {
		/* Slots are copied by a fork. */
		if (event == HOTPATCH_FORK_CHILD) *context->slot = 0;
		return;
	}
	enter(context);
	const uint32_t *info = signal->info;
	if ((event == HOTPATCH_SIGNAL) != (info != 0)) __builtin_trap();
	if (info && (info[0] < 1 || info[0] > 64)) __builtin_trap();
	uint32_t copy[32];
	if (info && context->services->read((uint8_t *)copy, (uint64_t)info, sizeof copy) != sizeof copy) __builtin_trap();
	for (int i = 0; info && i < 32; i++) if (copy[i] != info[i]) __builtin_trap();
	if (event == HOTPATCH_SIGNAL_RETURN && signal->handler) __builtin_trap();
	const hotpatch_site_t *site = context->site;
	if (!site != (signal->call == HOTPATCH_INTERRUPTED_NOWHERE)) __builtin_trap();
	uint64_t at = signal->frame.rip, place = site ? site->address : 0;
	switch (signal->call) {
	case HOTPATCH_INTERRUPTED_NOWHERE: break;
	case HOTPATCH_INTERRUPTED_BEFORE:
	case HOTPATCH_INTERRUPTED_AGAIN:
	case HOTPATCH_INTERRUPTED_AGAIN_UNSEEN:
		if (at != place || (uint16_t)signal->frame.rax != context->number) __builtin_trap();
		break;
	case HOTPATCH_INTERRUPTED_ENDED:
		if (at != place + 2) __builtin_trap();
		break;
	default: __builtin_trap();
	}
	__atomic_fetch_add(&told[(event == HOTPATCH_SIGNAL ? 0 : 8) + signal->call], 1, __ATOMIC_SEQ_CST);
	trash();
	leave(context);
}

__attribute__((visibility("default"))) const hotpatch_hook_t hotpatch_hook = {
	.abi = HOTPATCH_ABI,
	.size = sizeof(hotpatch_hook_t),
	.name = "hears",
	.flags = HOTPATCH_SIGNALS,
	.syscalls = {{~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul}, 1},
	.before = before,
	.after = after,
	.event = hear,
};
