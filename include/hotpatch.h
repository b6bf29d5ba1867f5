/*
 * Hooks for libhotpatch in C and C++: your code in place of a program's system calls.
 *
 * Made from crates/abi by `cargo xtask header`: do not edit.
 *
 *     gcc -O2 -fPIC -ffreestanding -fno-stack-protector -mgeneral-regs-only -fvisibility=hidden \
 *         -shared -nostdlib -Wl,-z,defs -o hook.so hook.c
 *     hotpatch run --hook ./hook.so -- ls
 *
 * A hook runs in the program, on any of its threads and on several at once, in the middle of whatever the program was
 * doing. It has no libc and must not wait for a lock; it reads and writes the program's memory by `services->read`
 * and `write` alone; it uses no vector register. `hotpatch new-hook --c NAME` writes a project to start from.
 */
#ifndef HOTPATCH_H
#define HOTPATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__STDC_HOSTED__) && __STDC_HOSTED__ == 0 && defined(__SSE__)
#error "a freestanding hook must leave vector registers alone: compile it with -mgeneral-regs-only"
#endif

#ifdef __cplusplus
extern "C" {
#endif

// The version of everything in this file. A hook of another version is refused.
#define HOTPATCH_ABI 1

// `flags`: `rbx`, `rbp` and `r12` to `r15` are neither read nor changed, which saves their way.
#define HOTPATCH_ARGUMENTS_ONLY 1

// `flags`: the frame is never written to, but for `rax` where the hook answers, which saves the comparison with
// what it was. What a hook with this flag writes there nevertheless has no meaning.
#define HOTPATCH_READS_ONLY 4

// `flags`, hosted: nothing that lives in a thread's own storage of libc is used (`errno`, locale, `malloc`'s
// caches), so that the thread pointer need not change.
#define HOTPATCH_NO_THREAD_STATE 2

// `flags`: the hook's `event` is told of signals.
#define HOTPATCH_SIGNALS 8

// `syscall`
#define HOTPATCH_KIND_SYSCALL 0

// `int $0x80`
#define HOTPATCH_KIND_INT80 1

// `sysenter`
#define HOTPATCH_KIND_SYSENTER 2

// `rdtsc`
#define HOTPATCH_KIND_RDTSC 3

// `rdtscp`
#define HOTPATCH_KIND_RDTSCP 4

// `cpuid`
#define HOTPATCH_KIND_CPUID 5

// `rdrand`
#define HOTPATCH_KIND_RDRAND 6

// `rdseed`
#define HOTPATCH_KIND_RDSEED 7

// `xgetbv`
#define HOTPATCH_KIND_XGETBV 8

// `rdgsbase`
#define HOTPATCH_KIND_RDGSBASE 9

// `wrgsbase`
#define HOTPATCH_KIND_WRGSBASE 10

// Execute the instruction, with the registers as the frame has them.
#define HOTPATCH_RUN 0

// The same, and call `after` with the result. Means `HOTPATCH_RUN` for calls that do not come back.
#define HOTPATCH_RUN_AND_RETURN 1

// Do not execute it: the program goes on behind it with the registers as the frame has them.
#define HOTPATCH_ANSWER 2

// A thread is about to run its first instruction of the program's. It has its slot already.
#define HOTPATCH_THREAD_START 1

// The thread ends; its slot goes with it.
#define HOTPATCH_THREAD_END 2

// A process has been forked: told in the child, before it does anything. Not where the child runs in its
// parent's memory (`vfork`): there a hook's state, slots too, is the parent's until it execs or exits.
#define HOTPATCH_FORK_CHILD 3

// An exec follows. It may fail: then the next call of the thread says that it did.
#define HOTPATCH_BEFORE_EXEC 4

// The process ends by `exit_group`.
#define HOTPATCH_EXIT 5

// A signal's handler is about to run, or its default action, which ends the process, to be taken:
// the context says which. Told to hooks that ask for it alone.
#define HOTPATCH_SIGNAL 6

// A handler has come to its end, and the program goes on where it was interrupted. That of one that interrupted no
// call is told where the program's own call for it is seen. Told to hooks that ask for it alone.
#define HOTPATCH_SIGNAL_RETURN 7

// In none that the hook has been asked about and not been told the end of.
#define HOTPATCH_INTERRUPTED_NOWHERE 0

// The hook has been asked about it, and it has not been made yet. It is when the handler returns.
#define HOTPATCH_INTERRUPTED_BEFORE 1

// It has ended, `rax` says how, and the hook's `after` has not been called yet.
#define HOTPATCH_INTERRUPTED_ENDED 2

// The kernel will make it once more when the handler returns; then the hook is asked again.
#define HOTPATCH_INTERRUPTED_AGAIN 3

// The same, but the hook is not asked again.
#define HOTPATCH_INTERRUPTED_AGAIN_UNSEEN 4

// Whatever the processor has.
#define HOTPATCH_VECTORS_ALL 0

// None at all.
#define HOTPATCH_VECTORS_NONE 1

// xmm0 to xmm15.
#define HOTPATCH_VECTORS_XMM 2

// ymm0 to ymm15.
#define HOTPATCH_VECTORS_YMM 3

// System call numbers of interest: bit `n % 64` of `low[n / 64]` for numbers below 512.
typedef struct hotpatch_syscall_set_t {
    // Numbers 0 to 511.
    uint64_t low[8];
    // Not 0: also every number from 512 on, which only odd or failing programs use.
    uint64_t others;
} hotpatch_syscall_set_t;

// Executes a system call that no hook sees: number, arguments; the kernel's answer.
typedef int64_t (*hotpatch_syscall_fn)(uint64_t number, const uint64_t (*arguments)[6]);

// Copies `len` bytes between a hook and the program's memory: how many, or a negative errno if none.
typedef int64_t (*hotpatch_copy_fn)(uint8_t *own, uint64_t program, size_t len);

// Writes a line to the log.
typedef void (*hotpatch_log_fn)(const uint8_t *text, size_t len);

// Ends the hook's call at once, reports the text and calls the hook no more.
typedef void (*hotpatch_fail_fn)(const uint8_t *text, size_t len);

// Copies the value of a variable of the environment that the program was started with, without a zero byte behind it:
// how many bytes, more than `size` if that was too few, or -ENOENT. Answers while `start` runs; later -ENOENT.
typedef int64_t (*hotpatch_environment_fn)(const uint8_t *name, size_t len, uint8_t *value, size_t size);

// What a hook may ask of the runtime. The same address in all calls, as long as the process lives.
typedef struct hotpatch_services_t {
    // `HOTPATCH_ABI`.
    uint32_t abi;
    // Bytes of this structure: later versions append.
    uint32_t size;
    // See `hotpatch_syscall_fn`.
    hotpatch_syscall_fn syscall;
    // Program to hook. See `hotpatch_copy_fn`.
    hotpatch_copy_fn read;
    // Program to hook, up to and with the first zero byte: what was copied ends in one unless `len` was too small.
    hotpatch_copy_fn read_string;
    // Hook to program.
    hotpatch_copy_fn write;
    // See `hotpatch_log_fn`.
    hotpatch_log_fn log;
    // See `hotpatch_fail_fn`.
    hotpatch_fail_fn fail;
    // See `hotpatch_environment_fn`.
    hotpatch_environment_fn environment;
} hotpatch_services_t;

// An instruction of the program: a candidate, and later the place a call came from. Lives as long as the process.
typedef struct hotpatch_site_t {
    // Its address in this process.
    uint64_t address;
    // Its place in the file in bytes; for `[vdso]` in the image.
    uint64_t offset;
    // Absolute path of the file, or `[vdso]`. Ends with a zero byte.
    const char *file;
    // The function it is in, or null. Ends with a zero byte.
    const char *symbol;
    // Bytes from that function's start; 0 where `symbol` is null.
    uint64_t symbol_offset;
    // See `HOTPATCH_KIND_...`.
    uint32_t kind;
    // Counts the sites of the process from 0.
    uint32_t id;
    // The instruction: the first `len` bytes.
    uint8_t bytes[15];
    // Bytes of the instruction.
    uint8_t len;
} hotpatch_site_t;

// Whether the hook is called at an instruction. Asked once for each candidate, before the program runs; the site has
// no `id` yet.
typedef bool (*hotpatch_select_fn)(const struct hotpatch_services_t *services,
                                   const struct hotpatch_site_t *site);

// Called once, before the program runs and before all else. Not 0 (an errno): the hook is not used.
typedef int32_t (*hotpatch_start_fn)(const struct hotpatch_services_t *services);

// The general registers of the program, as at the instruction (before) or right behind it (after).
//
// A hook may change any of them; they are put back before the program goes on. Registers that a system call
// takes its arguments from have the program's own values again when it returns, as the kernel's convention
// promises.
typedef struct hotpatch_frame_t {
    // Number of a system call; its result when it has returned.
    uint64_t rax;
    // First argument.
    uint64_t rdi;
    // Second argument.
    uint64_t rsi;
    // Third argument.
    uint64_t rdx;
    // Fourth argument.
    uint64_t r10;
    // Fifth argument.
    uint64_t r8;
    // Sixth argument.
    uint64_t r9;
    // As the kernel leaves it: the address behind the instruction. Lost by a system call.
    uint64_t rcx;
    // As the kernel leaves it: a copy of the flags. Lost by a system call.
    uint64_t r11;
    // The flags.
    uint64_t rflags;
    // The program's stack pointer.
    uint64_t rsp;
    // Address of the instruction, or behind it after the call. Elsewhere means: go on there, nothing is executed.
    uint64_t rip;
    // Not filled for hooks with `HOTPATCH_ARGUMENTS_ONLY`, like all that follow.
    uint64_t rbx;
    // See `rbx`.
    uint64_t rbp;
    // See `rbx`.
    uint64_t r12;
    // See `rbx`.
    uint64_t r13;
    // See `rbx`.
    uint64_t r14;
    // See `rbx`.
    uint64_t r15;
} hotpatch_frame_t;

// What is told of a signal.
typedef struct hotpatch_signal_t {
    // The kernel's `siginfo_t`: 128 bytes. Null when a handler has come to its end.
    const void *info;
    // The handler; 0 for the default action.
    uint64_t handler;
    // The signals, bit 0 for signal 1, that are blocked when the handler has returned.
    uint64_t mask;
    // A value of `HOTPATCH_INTERRUPTED_...`.
    uint32_t call;
    // 0.
    uint32_t reserved;
    // The program's registers where it was interrupted, as the handler can see them. What is written there has no meaning.
    struct hotpatch_frame_t frame;
} hotpatch_signal_t;

// Who called, and where: what a hook's functions get besides the frame. Valid during the call.
typedef struct hotpatch_context_t {
    // What a hook may ask of the runtime.
    const struct hotpatch_services_t *services;
    // The instruction; null in events that are about none.
    const struct hotpatch_site_t *site;
    // Eight bytes of the hook's own for each thread: 0 when the thread starts.
    uint64_t *slot;
    // Number of the system call, as the program gave it (its low 32 bits), also after the call.
    uint32_t number;
    // For the runtime's use.
    uint32_t reserved;
    // Null, but in events about a signal. Then `site` and `number` are those of the call that it interrupted, or null and 0.
    const struct hotpatch_signal_t *signal;
} hotpatch_context_t;

// Called at each hooked instruction. Answers `HOTPATCH_RUN`, `HOTPATCH_RUN_AND_RETURN` or `HOTPATCH_ANSWER`.
typedef uint32_t (*hotpatch_before_fn)(struct hotpatch_context_t *context, struct hotpatch_frame_t *frame);

// Called when an instruction with `HOTPATCH_RUN_AND_RETURN` is done.
typedef void (*hotpatch_after_fn)(struct hotpatch_context_t *context, struct hotpatch_frame_t *frame);

// Told what happens to threads and processes: `HOTPATCH_THREAD_START` to `HOTPATCH_SIGNAL_RETURN`.
typedef void (*hotpatch_event_fn)(struct hotpatch_context_t *context, uint32_t event);

// What a hook file exports as `hotpatch_hook`.
typedef struct hotpatch_hook_t {
    // `HOTPATCH_ABI`.
    uint32_t abi;
    // Bytes of this structure: later versions append.
    uint32_t size;
    // Its name in the log. Ends with a zero byte.
    const char *name;
    // `HOTPATCH_ARGUMENTS_ONLY` and the like.
    uint32_t flags;
    // See `HOTPATCH_VECTORS_...`.
    uint32_t vectors;
    // Which system calls it is called for. All others pass untouched.
    struct hotpatch_syscall_set_t syscalls;
    // The kinds of instruction it is asked about: bit `1 << kind`. 0 means `syscall` alone.
    uint64_t kinds;
    // Without it, every candidate of its kinds is chosen.
    hotpatch_select_fn select;
    // Optional.
    hotpatch_start_fn start;
    // Needed.
    hotpatch_before_fn before;
    // Needed where `before` answers `HOTPATCH_RUN_AND_RETURN`.
    hotpatch_after_fn after;
    // Optional.
    hotpatch_event_fn event;
    // Null.
    const void *reserved;
} hotpatch_hook_t;

/* The one symbol that a hook exports. */
extern __attribute__((visibility("default"))) const hotpatch_hook_t hotpatch_hook;

/*
 * A set of up to 16 system calls, to stand in an initializer: HOTPATCH_SYSCALLS(__NR_open, __NR_openat). Numbers from
 * 512 on cannot be chosen one by one. HOTPATCH_ALL_SYSCALLS has all.
 */
#define HOTPATCH_SYSCALLS(...)                                                                                         \
    {                                                                                                                  \
        {HOTPATCH_WORD(0, __VA_ARGS__), HOTPATCH_WORD(1, __VA_ARGS__), HOTPATCH_WORD(2, __VA_ARGS__),                  \
         HOTPATCH_WORD(3, __VA_ARGS__), HOTPATCH_WORD(4, __VA_ARGS__), HOTPATCH_WORD(5, __VA_ARGS__),                  \
         HOTPATCH_WORD(6, __VA_ARGS__), HOTPATCH_WORD(7, __VA_ARGS__)},                                                \
            0                                                                                                          \
    }
#define HOTPATCH_ALL_SYSCALLS                                                                                          \
    {                                                                                                                  \
        {~UINT64_C(0), ~UINT64_C(0), ~UINT64_C(0), ~UINT64_C(0), ~UINT64_C(0), ~UINT64_C(0), ~UINT64_C(0),             \
         ~UINT64_C(0)},                                                                                                \
            1                                                                                                          \
    }
#define HOTPATCH_BIT(w, n) ((n) / 64 == (w) ? UINT64_C(1) << (n) % 64 : 0)
#define HOTPATCH_WORD_(w, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ...)                                         \
    (HOTPATCH_BIT(w, a) | HOTPATCH_BIT(w, b) | HOTPATCH_BIT(w, c) | HOTPATCH_BIT(w, d) | HOTPATCH_BIT(w, e) |          \
     HOTPATCH_BIT(w, f) | HOTPATCH_BIT(w, g) | HOTPATCH_BIT(w, h) | HOTPATCH_BIT(w, i) | HOTPATCH_BIT(w, j) |          \
     HOTPATCH_BIT(w, k) | HOTPATCH_BIT(w, l) | HOTPATCH_BIT(w, m) | HOTPATCH_BIT(w, n) | HOTPATCH_BIT(w, o) |          \
     HOTPATCH_BIT(w, p))
#define HOTPATCH_NONE 65535
#define HOTPATCH_WORD(w, ...)                                                                                          \
    HOTPATCH_WORD_(w, __VA_ARGS__, HOTPATCH_NONE, HOTPATCH_NONE, HOTPATCH_NONE, HOTPATCH_NONE, HOTPATCH_NONE,          \
                   HOTPATCH_NONE, HOTPATCH_NONE, HOTPATCH_NONE, HOTPATCH_NONE, HOTPATCH_NONE, HOTPATCH_NONE,           \
                   HOTPATCH_NONE, HOTPATCH_NONE, HOTPATCH_NONE, HOTPATCH_NONE, HOTPATCH_NONE)

/* In `before`: the call is not made, and this is its result. */
static inline uint32_t hotpatch_answer(hotpatch_frame_t *frame, uint64_t result) {
    frame->rax = result;
    return HOTPATCH_ANSWER;
}

/* In `before`: the call is not made, and fails with this (positive) error number. */
static inline uint32_t hotpatch_refuse(hotpatch_frame_t *frame, int error) {
    return hotpatch_answer(frame, (uint64_t)-(int64_t)error);
}

/* Makes a system call that no hook sees: the kernel's answer, -4095 to -1 for errors. */
static inline int64_t hotpatch_syscall(const hotpatch_services_t *services, uint64_t number, uint64_t a, uint64_t b,
                                       uint64_t c, uint64_t d, uint64_t e, uint64_t f) {
    const uint64_t arguments[6] = {a, b, c, d, e, f};
    return services->syscall(number, &arguments);
}

/* A line of text, made without a heap; what does not fit is dropped. Begin with `hotpatch_line_t line; line.len = 0;`. */
typedef struct hotpatch_line_t {
    size_t len;
    char text[480];
} hotpatch_line_t;

/* Adds a string that ends with a zero byte. */
static inline void hotpatch_put(hotpatch_line_t *line, const char *text) {
    while (*text != 0 && line->len < sizeof line->text)
        line->text[line->len++] = *text++;
}

/* Adds a decimal number. */
static inline void hotpatch_put_number(hotpatch_line_t *line, uint64_t number) {
    char digits[21];
    size_t at = sizeof digits - 1;
    digits[at] = 0;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    hotpatch_put(line, digits + at);
}

/* Writes the line to the log, and empties it. */
static inline void hotpatch_log(const hotpatch_services_t *services, hotpatch_line_t *line) {
    services->log((const uint8_t *)line->text, line->len);
    line->len = 0;
}

#if defined(__STDC_HOSTED__) && __STDC_HOSTED__ == 0
/* Compilers call these of their own accord. */
void *memcpy(void *to, const void *from, size_t len);
void *memmove(void *to, const void *from, size_t len);
void *memset(void *to, int byte, size_t len);
int memcmp(const void *a, const void *b, size_t len);

__attribute__((weak, visibility("hidden"))) void *memcpy(void *to, const void *from, size_t len) {
    void *result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len) : : "memory");
    return result;
}

__attribute__((weak, visibility("hidden"))) void *memmove(void *to, const void *from, size_t len) {
    void *result = to;
    if ((uintptr_t)to - (uintptr_t)from >= len)
        return memcpy(to, from, len);
    to = (char *)to + len - 1;
    from = (const char *)from + len - 1;
    __asm__ volatile("std\n\trep movsb\n\tcld" : "+D"(to), "+S"(from), "+c"(len) : : "memory", "cc");
    return result;
}

__attribute__((weak, visibility("hidden"))) void *memset(void *to, int byte, size_t len) {
    void *result = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(len) : "a"(byte) : "memory");
    return result;
}

__attribute__((weak, visibility("hidden"))) int memcmp(const void *a, const void *b, size_t len) {
    const unsigned char *x = (const unsigned char *)a, *y = (const unsigned char *)b;
    for (volatile size_t n = 0; n < len; n++)
        if (x[n] != y[n])
            return x[n] - y[n];
    return 0;
}
#endif

#ifdef __cplusplus
}
#endif

#endif
