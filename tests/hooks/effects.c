/* Effects that a program can see: tests/guests/effects.c knows them. */
#include "bearable.h"

static uint64_t events[8], forks;

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	trash();
	if (context->slot == 0 || context->site->file[0] == 0) __builtin_trap();
	switch (context->number) {
	case 110: /* getppid */
		frame->rax = 4242;
		return HOTPATCH_ANSWER;
	case 1: /* write */
		if (frame->rdi != 900) return HOTPATCH_RUN;
		frame->rdi = 1;
		return HOTPATCH_RUN;
	case 102: /* getuid */
	case 56: case 57: case 58: case 435: return HOTPATCH_RUN_AND_RETURN;
	case 1000: /* numbers that the kernel does not know */
		frame->rax = (*context->slot)++;
		return HOTPATCH_ANSWER;
	case 1001:
		frame->rax = frame->rdi < 8 ? __atomic_load_n(&events[frame->rdi], __ATOMIC_SEQ_CST) : forks;
		return HOTPATCH_ANSWER;
	case 1002: /* goes on somewhere else */
		frame->rip = frame->rdi;
		return HOTPATCH_RUN;
	default: return HOTPATCH_RUN;
	}
}

static void count(hotpatch_context_t *context, uint32_t event) {
	if (context->slot == 0) __builtin_trap();
	trash();
	__atomic_fetch_add(&events[event & 7], 1, __ATOMIC_SEQ_CST);
}

static void seen(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	if (context->number == 102) frame->rax += 5;
	else __atomic_fetch_add(&forks, 1, __ATOMIC_SEQ_CST);
	after(context, frame);
}

__attribute__((visibility("default"))) const hotpatch_hook_t hotpatch_hook = {
	.abi = HOTPATCH_ABI,
	.size = sizeof(hotpatch_hook_t),
	.name = "effects",
	.syscalls = {{~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul}, 1},
	.before = before,
	.after = seen,
	.event = count,
};
