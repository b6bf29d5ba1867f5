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
