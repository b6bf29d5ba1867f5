// build: gcc -O1 -pthread -rdynamic
// A program that brings its own malloc, as many link jemalloc: it keeps something for each thread, and must not be entered
// from a call that it makes itself.
// hook: hosted_threads
// hook: hosted_run hosted_threads
// patched: libc.so.6 400
// timeout: 60
#include "guest.h"
#include <dlfcn.h>

static char arena[256 << 20] __attribute__((aligned(4096)));
static size_t used;
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static volatile int held, strange, destroyed;
static __thread int known;

static void gone(void *what) {
	destroyed += what == (void *)&known;
}
static void make(void) { pthread_key_create(&key, gone); }

static void *take(size_t size, size_t align) {
	pid_t tid = raw3(SYS_gettid, 0, 0, 0);
	if (__atomic_load_n(&held, __ATOMIC_SEQ_CST) == tid) strange++;
	while (!__sync_bool_compare_and_swap(&held, 0, tid)) raw3(SYS_sched_yield, 0, 0, 0);
	raw3(SYS_madvise, (long)arena, 4096, 0);
	used = (used + 16 + align - 1) & ~(align - 1);
	char *block = arena + used;
	((size_t *)block)[-1] = size;
	used += size;
	if (used > sizeof arena) abort();
	held = 0;
	return block;
}
void free(void *block) { (void)block; }
void *malloc(size_t size) {
	pthread_once(&once, make);
	if (!known) {
		known = 1;
		if (pthread_setspecific(key, &known)) strange++;
	} else if (pthread_getspecific(key) != (void *)&known) strange++;
	return take(size, 16);
}
void *calloc(size_t n, size_t size) { return memset(malloc(n * size), 0, n * size); }
void *realloc(void *old, size_t size) {
	void *block = malloc(size);
	if (old) memcpy(block, old, ((size_t *)old)[-1] < size ? ((size_t *)old)[-1] : size);
	return block;
}
void *memalign(size_t align, size_t size) { return take(size, align < 16 ? 16 : align); }
void *aligned_alloc(size_t align, size_t size) { return memalign(align, size); }
int posix_memalign(void **to, size_t align, size_t size) { return *to = memalign(align, size), 0; }

static void *thread(void *arg) {
	char *text = malloc(50);
	for (int i = 0; i < 100; i++) close(open("/dev/null", O_RDONLY));
	if (pthread_getspecific(key) != (void *)&known) strange++;
	free(text);
	return arg;
}

int main(void) {
	free(malloc(1));
	for (int round = 0; round < 100; round++) {
		pthread_t threads[4];
		for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, thread, NULL);
		for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
		pid_t pid = round % 10 ? 0 : fork();
		if (pid == 0 && round % 10 == 0) thread(NULL), _exit(strange);
		if (pid) wait_for("child", pid);
	}
	void *library = dlopen("libm.so.6", RTLD_NOW);
	SAY("library: %d, strange: %d, destroyed: %d\n", library != NULL, strange, destroyed);
	return 0;
}
