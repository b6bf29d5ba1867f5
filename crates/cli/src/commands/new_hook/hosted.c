/*
 * A hosted hook: says which files a program opens, and how many.
 *
 *     make
 *     hotpatch run --hook ./NAME.so -- ls
 */
#include <asm/unistd.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "hotpatch.h"

static atomic_long count;

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
    (void)context;
    (void)frame;
    /* The kernel opens the file; then show us how that went. */
    return HOTPATCH_RUN_AND_RETURN;
}

static void after(hotpatch_context_t *context, hotpatch_frame_t *frame) {
    int64_t result = (int64_t)frame->rax;
    char path[4096];
    /* The program's memory is never read through a pointer: a wrong one would crash the program. */
    int64_t len = context->services->read_string((uint8_t *)path, frame->rsi, sizeof path);
    if (len <= 0 || path[len - 1] != 0)
        return;
    count++;
    if (result >= 0)
        fprintf(stderr, "NAME: %s is descriptor %d\n", path, (int)result);
    else
        fprintf(stderr, "NAME: %s: %s\n", path, strerror((int)-result));
}

static void event(hotpatch_context_t *context, uint32_t event) {
    hotpatch_line_t line;
    if (event != HOTPATCH_EXIT)
        return;
    /* Programs may have closed their standard error by now. */
    line.len = 0;
    hotpatch_put_number(&line, (uint64_t)count);
    hotpatch_put(&line, " files");
    hotpatch_log(context->services, &line);
}

/* The library shows nothing else. */
__attribute__((visibility("default"))) const hotpatch_hook_t hotpatch_hook = {
    .abi = HOTPATCH_ABI,
    .size = sizeof(hotpatch_hook_t),
    .name = "NAME",
    /* All other calls pass by at no cost. */
    .syscalls = HOTPATCH_SYSCALLS(__NR_openat),
    .before = before,
    .after = after,
    .event = event,
};
