/* What hosted hooks of the tests do at each call: they use libc, their own thread's state in it, and change every
 * register that a called function may, vectors included. Each says its VERDICT. */
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEAR bear
#define START begin
static void bear(void);
#include "bearable.h"

static pthread_key_t key;
static __thread long calls;

static int begin(const hotpatch_services_t *services) {
	(void)services;
	return pthread_key_create(&key, free);
}

/* Wider registers than the processor has are no instructions of its. */
static void trash_vectors(void) {
	if (__builtin_cpu_supports("avx512bw")) {
		__asm__ volatile(".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, "
				 "22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n vpternlogd $255, %%zmm\\n, %%zmm\\n, %%zmm\\n\n .endr\n"
				 ".irp n, 0, 1, 2, 3, 4, 5, 6, 7\n kxnorq %%k\\n, %%k\\n, %%k\\n\n .endr" ::: "memory");
	} else if (__builtin_cpu_supports("avx")) {
		__asm__ volatile(".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
				 "vcmpps $15, %%ymm\\n, %%ymm\\n, %%ymm\\n\n .endr" ::: "memory");
	} else {
		__asm__ volatile(".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
				 "pcmpeqd %%xmm\\n, %%xmm\\n\n .endr" ::: "memory");
	}
	/* x87 and MMX are the same registers; inexact, by both kinds of arithmetic. */
	__asm__ volatile("fldpi\n fldl2e\n fdivrp\n fstp %%st(0)\n pcmpeqd %%mm0, %%mm0\n pcmpeqd %%mm7, %%mm7\n emms"
			 ::: "memory");
	volatile float three = 3;
	three = 1 / three;
}

/* Traps where the C library does not find its own of this thread. */
static void use_libc(void) {
	long *count = pthread_getspecific(key);
	if (!count) {
		count = calloc(1, sizeof *count);
		if (!count || pthread_setspecific(key, count)) __builtin_trap();
	}
	if (++*count != ++calls) __builtin_trap();
	char text[64];
	snprintf(text, sizeof text, "%.2f %.1Lf", (double)(calls % 100) / 4, (long double)(calls % 10));
	char *copy = strdup(text);
	if (!copy || !isalpha('x') || strtod(copy, NULL) != (double)(calls % 100) / 4) __builtin_trap();
	free(copy);
	errno = (int)calls;
}

static void bear(void) {
	use_libc();
	trash_vectors();
}

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	if (frame->rip != context->site->address || (uint32_t)frame->rax != context->number) __builtin_trap();
	bear();
	trash();
	return VERDICT;
}
