/* Time and chance as tests/guests/instructions.c expects them; chooses them by kind and file, and no system call. */
#include <hotpatch.h>

static bool is(const char *symbol, const char *begin) {
	while (*begin && *symbol == *begin) symbol++, begin++;
	return !*begin;
}

static bool select(const hotpatch_services_t *services, const hotpatch_site_t *site) {
	const char *end = site->file;
	while (*end) end++;
	/* by name: not `unasked`, and of the guest's variants those whose results do not show */
	if (!site->symbol || is(site->symbol, "unasked") || is(site->symbol, "state")) return false;
	if (is(site->symbol, "random") || is(site->symbol, "seed")) return false;
	/* the guest's own code alone */
	for (const char *at = site->file; at < end; at++)
		if (at[0] == '/' && at[1] == 'i' && at[2] == 'n' && at[3] == 's' && at[4] == 't') return true;
	return false;
}

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	static uint64_t time = 1ul << 40;
	switch (context->site->kind) {
	case HOTPATCH_KIND_RDTSC:
	case HOTPATCH_KIND_RDTSCP:
		time += 1000;
		frame->rax = (uint32_t)time;
		frame->rdx = time >> 32;
		if (context->site->kind == HOTPATCH_KIND_RDTSCP) frame->rcx = 77;
		return HOTPATCH_ANSWER;
	case HOTPATCH_KIND_INT80:
		if (context->number != 20) return HOTPATCH_RUN;
		frame->rax = 77;
		return HOTPATCH_ANSWER;
	case HOTPATCH_KIND_RDRAND:
	case HOTPATCH_KIND_RDSEED:
		frame->rax = 4;
		frame->rflags |= 1;
		return HOTPATCH_ANSWER;
	default: return HOTPATCH_RUN_AND_RETURN;
	}
}

static void after(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	if (context->site->kind == HOTPATCH_KIND_CPUID) frame->rbx = frame->rcx = frame->rdx = 0x2e2e2e2e;
	if (context->site->kind == HOTPATCH_KIND_XGETBV) frame->rdx = 0x11223344;
}

__attribute__((visibility("default"))) const hotpatch_hook_t hotpatch_hook = {
	.abi = HOTPATCH_ABI,
	.size = sizeof(hotpatch_hook_t),
	.name = "clockwork",
	.kinds = 1 << HOTPATCH_KIND_RDTSC | 1 << HOTPATCH_KIND_RDTSCP | 1 << HOTPATCH_KIND_RDRAND | 1 << HOTPATCH_KIND_CPUID |
		 1 << HOTPATCH_KIND_RDSEED | 1 << HOTPATCH_KIND_XGETBV | 1 << HOTPATCH_KIND_INT80 | 1 << HOTPATCH_KIND_SYSENTER,
	.select = select,
	.before = before,
	.after = after,
};
