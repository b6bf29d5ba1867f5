/* A hook with a thread of its own that is always in the C library, and what each thread of the program leaves there. */
#include <asm/unistd.h>
#include <hotpatch.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
extern void *__dso_handle;

static pthread_key_t key;
static FILE *nowhere;
static atomic_long begun, ended, by_key, by_object, calls;
static atomic_int hidden;
static pid_t process;
static __thread int known;

static void gone(void *count) {
	free(count);
	by_key++;
}

static void destroyed(void *unused) {
	(void)unused;
	by_object++;
}

/* No signal of the program's may come here, and it must not be asked about its calls. */
static void *busy(void *unused) {
	for (int n = 0;; n = (n + 1) % 1000) {
		char *text = malloc(100 + n);
		snprintf(text, 100, "%f", n * 0.25);
		fprintf(nowhere, "%s\n", text);
		free(text);
		if (hidden == 0) break;
	}
	return unused;
}

static int start(const hotpatch_services_t *services) {
	(void)services;
	process = getpid();
	nowhere = fopen("/dev/null", "w");
	hidden = 1;
	pthread_t thread;
	return pthread_key_create(&key, gone) || !nowhere || pthread_create(&thread, NULL, busy, NULL);
}

static void *once(void *done) {
	*(int *)done = 1;
	return NULL;
}

static uint32_t before(hotpatch_context_t *context, hotpatch_frame_t *frame) {
	(void)frame;
	if (!context->services || !context->services->read || !context->slot) __builtin_trap();
	if (!known) {
		known = 1;
		begun++;
		long *count = calloc(1, sizeof *count);
		if (pthread_setspecific(key, count)) __builtin_trap();
		__cxa_thread_atexit_impl(destroyed, NULL, &__dso_handle);
	}
	++*(long *)pthread_getspecific(key);
	char *text = malloc(60);
	snprintf(text, 60, "%s %.1f", context->site->file, 0.5);
	fprintf(nowhere, "%s\n", text);
	free(text);
	/* Now and then a thread from inside of a hook; not in calls that the C library makes while it holds the list of threads. */
	if (context->number == __NR_openat && ++calls % 100 == 0 && getpid() == process) {
		pthread_t thread;
		int done = 0;
		if (!pthread_create(&thread, NULL, once, &done) && (pthread_join(thread, NULL) || !done)) __builtin_trap();
	}
	return HOTPATCH_RUN;
}

static void event(hotpatch_context_t *context, uint32_t event) {
	(void)context;
	if (event == HOTPATCH_THREAD_END && known) ended++;
	if (event == HOTPATCH_FORK_CHILD) process = 0;
	if (event != HOTPATCH_EXIT || getpid() != process) return;
	/* What ends with a thread ends soon after it. */
	for (int n = 0; n < 1000 && (by_key < ended || by_object < ended); n++) usleep(10000);
	if (by_key != ended || by_object != ended) __builtin_trap();
	hidden = 0;
}

__attribute__((visibility("default"))) const hotpatch_hook_t hotpatch_hook = {
	.abi = HOTPATCH_ABI,
	.size = sizeof(hotpatch_hook_t),
	.name = "hosted_threads",
	.syscalls = {{~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul, ~0ul}, 1},
	.before = before,
	.event = event,
	.start = start,
};
