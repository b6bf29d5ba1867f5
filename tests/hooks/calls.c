/* Writes down every call before and after it. The test compares that with what strace saw of the same process. */
#include "hotpatch.h"

enum { GETTID = 186, MARK = 9999 };

/* The one system call instruction of the runtime's own: strace shows from where it comes. */
static int32_t start(const hotpatch_services_t *services) {
	uint64_t none[6] = {0};
	services->syscall(MARK, &none);
	return 0;
}

static void put(hotpatch_context_t *context, const char *event, const uint64_t *values, unsigned count) {
	uint64_t none[6] = {0};
	hotpatch_line_t line;
	line.len = 0;
	hotpatch_put(&line, event);
	hotpatch_put_number(&line, (uint64_t)context->services->syscall(GETTID, &none));
	hotpatch_put(&line, " ");
	hotpatch_put_number(&line, context->number);
	for (unsigned n = 0; n < count; n++) {
		hotpatch_put(&line, " ");
		hotpatch_put_number(&line, values[n]);
	}
	hotpatch_log(context->services, &line);
}

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	uint64_t arguments[6] = {frame->rdi, frame->rsi, frame->rdx, frame->r10, frame->r8, frame->r9};
	put(context, "call ", arguments, 6);
	return HOTPATCH_RUN_AND_RETURN;
}

static void after(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	put(context, "result ", &frame->rax, 1);
}

const hotpatch_hook_t hotpatch_hook = {
	.abi = HOTPATCH_ABI,
	.size = sizeof(hotpatch_hook_t),
	.name = "calls",
	.flags = HOTPATCH_ARGUMENTS_ONLY,
	.syscalls = HOTPATCH_ALL_SYSCALLS,
	.start = start,
	.before = before,
	.after = after,
};
