/*
 * Counts system calls, by number and by the instruction they came from, and says so when the process ends.
 */
#include <asm/unistd.h>

#include "hotpatch.h"

enum {
    /* Numbers from here on are counted together. */
    NUMBERS = 512,
    /* Instructions from here on are not told apart. */
    SITES = 8192,
    /* How many instructions are shown. */
    SHOWN = 10,
};

static uint64_t numbers[NUMBERS + 1];
static uint64_t sites[SITES];
static const hotpatch_site_t *places[SITES];
static int64_t process;

static void add(uint64_t *count) {
    __atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
}

/* The most frequent one behind `*last` of `count`; equal ones come in order from the last. Advances `*last`. */
static size_t next(const uint64_t *counts, size_t len, uint64_t *last, size_t *last_index) {
    uint64_t best = 0;
    size_t found = len;
    for (size_t i = 0; i < len; i++) {
        uint64_t count = __atomic_load_n(&counts[i], __ATOMIC_RELAXED);
        if (count >= best && count != 0 && (count < *last || (count == *last && i < *last_index))) {
            best = count;
            found = i;
        }
    }
    *last = best;
    *last_index = found;
    return found;
}

static void put_count(hotpatch_line_t *line, uint64_t count) {
    for (uint64_t limit = 10000000; limit > count && limit > 1; limit /= 10)
        hotpatch_put(line, " ");
    hotpatch_put_number(line, count);
    hotpatch_put(line, " ");
}

static void show(const hotpatch_services_t *services) {
    hotpatch_line_t line;
    uint64_t all = 0, last = UINT64_MAX;
    size_t index = SIZE_MAX;
    line.len = 0;
    for (size_t i = 0; i <= NUMBERS; i++)
        all += numbers[i];
    hotpatch_put_number(&line, all);
    hotpatch_put(&line, " calls");
    hotpatch_log(services, &line);
    while (next(numbers, NUMBERS + 1, &last, &index) <= NUMBERS) {
        put_count(&line, last);
        if (index < NUMBERS) {
            hotpatch_put(&line, "number ");
            hotpatch_put_number(&line, index);
        } else {
            hotpatch_put(&line, "others");
        }
        hotpatch_log(services, &line);
    }
    hotpatch_put(&line, "from these instructions:");
    hotpatch_log(services, &line);
    last = UINT64_MAX;
    index = SIZE_MAX;
    for (int i = 0; i < SHOWN && next(sites, SITES, &last, &index) < SITES; i++) {
        put_count(&line, last);
        hotpatch_put(&line, places[index]->file);
        hotpatch_put(&line, " at ");
        hotpatch_put_number(&line, places[index]->offset);
        hotpatch_log(services, &line);
    }
}

static int32_t start(const hotpatch_services_t *services) {
    process = hotpatch_syscall(services, __NR_getpid, 0, 0, 0, 0, 0, 0);
    return 0;
}

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
    const hotpatch_site_t *site = context->site;
    (void)frame;
    add(&numbers[context->number < NUMBERS ? context->number : NUMBERS]);
    if (site->id < SITES) {
        __atomic_store_n(&places[site->id], site, __ATOMIC_RELAXED);
        add(&sites[site->id]);
    }
    return HOTPATCH_RUN;
}

static void event(hotpatch_context_t *context, uint32_t event) {
    const hotpatch_services_t *services = context->services;
    int64_t now;
    switch (event) {
    case HOTPATCH_EXIT:
        show(services);
        break;
    case HOTPATCH_BEFORE_EXEC:
        /* The child of a vfork execs in its parent's memory: these are the parent's counts. */
        now = hotpatch_syscall(services, __NR_getpid, 0, 0, 0, 0, 0, 0);
        if (now == process)
            show(services);
        break;
    case HOTPATCH_FORK_CHILD:
        for (size_t i = 0; i <= NUMBERS; i++)
            numbers[i] = 0;
        for (size_t i = 0; i < SITES; i++)
            sites[i] = 0;
        start(services);
        break;
    }
}

const hotpatch_hook_t hotpatch_hook = {
    .abi = HOTPATCH_ABI,
    .size = sizeof(hotpatch_hook_t),
    .name = "in-c",
    .flags = HOTPATCH_ARGUMENTS_ONLY | HOTPATCH_READS_ONLY,
    .syscalls = HOTPATCH_ALL_SYSCALLS,
    .start = start,
    .before = before,
    .event = event,
};
