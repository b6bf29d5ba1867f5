/*
 * A hook: says which files a program opens.
 *
 *     make
 *     hotpatch run --hook ./NAME.so -- ls
 */
#include <asm/unistd.h>

#include "hotpatch.h"

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
    (void)context;
    (void)frame;
    /* The kernel opens the file; then show us how that went. */
    return HOTPATCH_RUN_AND_RETURN;
}

static void after(hotpatch_context_t *context, hotpatch_frame_t *frame) {
    const hotpatch_services_t *services = context->services;
    int64_t result = (int64_t)frame->rax;
    hotpatch_line_t line;
    char path[256];
    line.len = 0;
    /* The program's memory is never read through a pointer: a wrong one would crash the program. */
    int64_t len = services->read_string((uint8_t *)path, frame->rsi, sizeof path);
    if (len <= 0 || path[len - 1] != 0)
        return;
    hotpatch_put(&line, path);
    if (result >= 0) {
        hotpatch_put(&line, " is descriptor ");
        hotpatch_put_number(&line, (uint64_t)result);
    } else {
        hotpatch_put(&line, ": error ");
        hotpatch_put_number(&line, (uint64_t)-result);
    }
    hotpatch_log(services, &line);
}

const hotpatch_hook_t hotpatch_hook = {
    .abi = HOTPATCH_ABI,
    .size = sizeof(hotpatch_hook_t),
    .name = "NAME",
    /* All other calls pass by at no cost. */
    .syscalls = HOTPATCH_SYSCALLS(__NR_openat),
    .before = before,
    .after = after,
};
