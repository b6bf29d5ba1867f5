// build: gcc -O1 -pthread -mavx
// System calls in memory that is writable and executable at once: every register is what the instruction leaves, on any
// stack or none, in threads, children and many places.
// patched: libc.so.6 400
// log: calls from there are caught
// only: ladder hook-run hook-run_arguments hook-after hook-after_arguments hook-run_reads hook-after_reads hook-record
// hook: after run
// hook: change
#include "written.h"
static unsigned char *page;
static call_t call;

struct state {
	uint64_t r[16], flags;
	unsigned char vector[32], red[128];
};
/* Loads everything, goes to `code`, which comes back by rbx, and stores everything. */
void run(struct state *in, struct state *out, void *code);
__asm__(".text\n.globl run\nrun:\n"
	"push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
	"push %rsi\n push %rdi\n mov %rdx, code(%rip)\n mov %rsp, saved(%rip)\n"
	"vmovdqu 136(%rdi), %ymm7\n"
	"lea 168(%rdi), %rsi\n lea -128(%rsp), %rdi\n mov $16, %ecx\n rep movsq\n"
	"mov (%rsp), %rdi\n"
	"mov (%rdi), %rax\n mov 16(%rdi), %rdx\n mov 32(%rdi), %rsi\n"
	"mov 48(%rdi), %rbp\n mov 64(%rdi), %r8\n mov 72(%rdi), %r9\n mov 80(%rdi), %r10\n mov 96(%rdi), %r12\n"
	"mov 104(%rdi), %r13\n mov 112(%rdi), %r14\n mov 120(%rdi), %r15\n"
	"push 128(%rdi)\n mov 40(%rdi), %rdi\n popfq\n"
	"lea 1f(%rip), %rbx\n mov -8(%rsp), %rcx\n" /* popfq's word is in the red zone: known to the caller */
	"jmp *code(%rip)\n"
	"1: mov %rsp, at(%rip)\n mov saved(%rip), %rsp\n"
	"mov %rdi, saved(%rip)\n pushfq\n push $2\n popfq\n mov 16(%rsp), %rdi\n"
	"mov %rax, (%rdi)\n mov %rcx, 8(%rdi)\n mov %rdx, 16(%rdi)\n mov %rsi, 32(%rdi)\n mov %rbp, 48(%rdi)\n"
	"mov %r8, 64(%rdi)\n mov %r9, 72(%rdi)\n mov %r10, 80(%rdi)\n mov %r11, 88(%rdi)\n mov %r12, 96(%rdi)\n"
	"mov %r13, 104(%rdi)\n mov %r14, 112(%rdi)\n mov %r15, 120(%rdi)\n"
	"mov saved(%rip), %rax\n mov %rax, 40(%rdi)\n mov at(%rip), %rax\n mov %rax, 56(%rdi)\n"
	"pop 128(%rdi)\n vmovdqu %ymm7, 136(%rdi)\n"
	"lea -128(%rsp), %rsi\n add $168, %rdi\n mov $14, %ecx\n rep movsq\n"
	"vzeroupper\n"
	"pop %rdi\n pop %rsi\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n"
	".local code,saved,at\n.comm code,8,8\n.comm saved,8,8\n.comm at,8,8\n");

static void registers(void) {
	/* syscall; jmp *%rbx */
	const unsigned char code[] = {0x0f, 0x05, 0xff, 0xe3};
	memcpy(page + 512, code, sizeof code);
	const uint64_t flags[] = {0x202, 0x246, 0xa93, 0x602, 0x4ad7 & ~0x4000u, 0x40202};
	const uint64_t numbers[] = {39, 110, 186, 512, 0xffffffff, ~0ull, 0x40000027, 0x1234567800000027};
	int wrong = 0;
	for (unsigned f = 0; f < sizeof flags / 8; f++)
		for (unsigned n = 0; n < sizeof numbers / 8; n++)
			for (int round = 0; round < 3; round++) {
				struct state in, out, expected;
				unsigned char *bytes = (unsigned char *)&in;
				for (unsigned i = 0; i < sizeof in; i++) bytes[i] = (unsigned char)(i * 37 + n * 11 + round);
				in.flags = flags[f], in.r[0] = numbers[n];
				out = in;
				run(&in, &out, page + 512);
				expected = in;
				uint32_t low = (uint32_t)numbers[n];
				expected.r[0] = low == 39 ? (uint64_t)getpid() : low == 110 ? (uint64_t)getppid() : low == 186 ? (uint64_t)syscall(SYS_gettid) : (uint64_t)-ENOSYS;
				expected.r[1] = (uint64_t)(page + 514);
				expected.r[11] = flags[f];
				/* Not compared: rbx and rsp, which are run's own, and the word that it pushes. */
				expected.r[3] = out.r[3], expected.r[7] = out.r[7];
				memcpy(expected.red + 112, out.red + 112, 16);
				if (memcmp(&expected, &out, sizeof out)) {
					wrong++;
					for (int i = 0; i < 16; i++)
						if (expected.r[i] != out.r[i]) SAY("register %d: %lx, not %lx\n", i, out.r[i], expected.r[i]);
					if (expected.flags != out.flags) SAY("flags %lx, not %lx\n", out.flags, expected.flags);
					if (memcmp(expected.vector, out.vector, 32)) SAY("ymm7\n");
					if (memcmp(expected.red, out.red, 128)) SAY("red zone\n");
				}
			}
	SAY("registers: %d wrong\n", wrong);
}

/* Without a stack: mov %rsp,%rbx; mov $STACK,%rsp; mov $39,%eax; syscall; mov %rbx,%rsp; ret, in between push and pop. */
static void no_stack(void) {
	int good = 0;
	for (uint64_t stack = 0; stack < 3; stack++) {
		unsigned char code[] = {0x53, 0x48, 0x89, 0xe3, 0x48, 0xbc, 0, 0, 0, 0, 0, 0, 0, 0, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0x48, 0x89, 0xdc, 0x5b, 0xc3};
		uint64_t at[] = {0, 0x10000, 0x7ffffffff000};
		memcpy(code + 6, &at[stack], 8);
		memcpy(page + 1024, code, sizeof code);
		for (int i = 0; i < 3; i++) good += ((code_t)(page + 1024))() == getpid();
	}
	SAY("no stack: %d\n", good);
}

static volatile int started, go;
static void *caller(void *arg) {
	code_t code = arg;
	long wrong = 0, tid = syscall(SYS_gettid);
	__atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
	while (!go) sched_yield();
	for (int i = 0; i < 2000; i++) wrong += code() != tid;
	return (void *)wrong;
}
static void threads(const char *what, pthread_t *all, int count) {
	long wrong = 0;
	go = 1;
	for (int i = 0; i < count; i++) {
		void *some;
		pthread_join(all[i], &some);
		wrong += (long)some;
	}
	SAY("%s: %ld wrong\n", what, wrong);
}

/* int $0x80; ret: getpid of 32-bit programs. */
static void old_way(void) {
	const unsigned char code[] = {0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3};
	memcpy(page + 1536, code, sizeof code);
	SAY("int $0x80: %d\n", ((code_t)(page + 1536))() == getpid());
}

/* The child's first instruction is here too: mov $56,%eax; syscall; test %eax,%eax; jne 1f; call *%rdx; 1: ret */
static void *volatile child_stack;
static volatile int child_ran;
static void child(void) {
	child_ran = getpid() != syscall(SYS_getppid) && call(SYS_getppid, 0, 0, 0, 0, 0, 0) == syscall(SYS_getppid);
	call(SYS_exit, 7, 0, 0, 0, 0, 0);
}
static void births(void) {
	unsigned char code[] = {0xb8, 56, 0, 0, 0, 0x0f, 0x05, 0x85, 0xc0, 0x75, 3, 0x41, 0xff, 0xd4, 0x5d, 0x41, 0x5c, 0xc3};
	/* push %r12; push %rbp; mov %rdx,%r12, then that */
	unsigned char begin[] = {0x41, 0x54, 0x55, 0x49, 0x89, 0xd4};
	memcpy(page + 2048, begin, sizeof begin), memcpy(page + 2048 + sizeof begin, code, sizeof code);
	long (*begin_child)(long, void *, void (*)(void)) = (void *)(page + 2048);
	static unsigned char stack[65536] __attribute__((aligned(16)));
	int status;
	for (int way = 0; way < 2; way++) {
		child_ran = 0;
		long flags = CLONE_VM | SIGCHLD | (way ? CLONE_VFORK : 0);
		pid_t pid = (pid_t)begin_child(flags, stack + sizeof stack - 64, child);
		wait_for(way ? "vfork on a stack" : "process in this memory", pid);
		SAY("ran %d\n", child_ran);
	}
	pid_t pid = (pid_t)call(SYS_fork, 0, 0, 0, 0, 0, 0);
	if (!pid) _exit(((code_t)page)() == syscall(SYS_gettid) && call(SYS_getppid, 0, 0, 0, 0, 0, 0) == getppid() ? 3 : 4);
	wait_for("fork", pid);
	pid = (pid_t)call(SYS_fork, 0, 0, 0, 0, 0, 0);
	if (!pid) {
		pid_t inner = fork();
		if (!inner) _exit(((code_t)page)() == syscall(SYS_gettid) ? 5 : 6);
		waitpid(inner, &status, 0);
		call(SYS_exit_group, WEXITSTATUS(status), 0, 0, 0, 0, 0);
	}
	wait_for("fork in a fork", pid);
	pid = vfork();
	if (!pid) {
		char *const none[] = {NULL};
		call(SYS_execve, (long)"/bin/false", (long)(char *[]){"false", NULL}, (long)none, 0, 0, 0);
		_exit(9);
	}
	wait_for("exec", pid);
}

static void kinds(void) {
	/* Made so later. */
	unsigned char *later = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	code_t code = put_number(later, 39);
	mprotect(later, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
	int good = code() == getpid();
	/* In turn. */
	for (int i = 0; i < 10; i++) {
		mprotect(later, 4096, PROT_READ | PROT_EXEC);
		good += code() == getpid();
		mprotect(later, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
		put_number(later, i & 1 ? 39 : 110);
		good += code() == (i & 1 ? getpid() : getppid());
	}
	SAY("protected: %d\n", good);
	/* Two faces of one memory. */
	int fd = (int)syscall(SYS_memfd_create, "code", 0);
	if (ftruncate(fd, 4096)) SAY("no file\n");
	unsigned char *data = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	unsigned char *face = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	put_number(data, 39), good = 0;
	good += ((code_t)face)() == getpid();
	put_number(data, 110);
	good += ((code_t)face)() == getppid();
	SAY("two faces: %d\n", good);
	/* Elsewhere. */
	unsigned char *there = mremap(later, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, page + (256 << 20));
	SAY("moved: %d\n", ((code_t)there)() == getpid());
	/* A file of the program's own. */
	char path[] = "/tmp/hotpatch-written-XXXXXX";
	fd = mkstemp(path), unlink(path);
	if (ftruncate(fd, 4096)) SAY("no file\n");
	face = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE, fd, 0);
	put_number(face, 39);
	SAY("of a file: %d\n", ((code_t)face)() == getpid());
}

static void many(void) {
	unsigned char *wide = writable_code(1 << 20);
	int good = 0;
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 1000; i++) {
			code_t code = put_number(wide + 1009 * i, i & 1 ? 39 : 110);
			good += code() == (i & 1 ? getpid() : getppid());
		}
	SAY("many: %d\n", good);
}

int main(void) {
	/* These run when the first such memory comes. */
	pthread_t early[4], late[4];
	page = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	put_number(page, SYS_gettid);
	for (int i = 0; i < 4; i++) pthread_create(&early[i], NULL, caller, page);
	while (started < 4) sched_yield();
	if (mprotect(page, 16384, PROT_READ | PROT_WRITE | PROT_EXEC)) SAY("not both: %m\n");
	call = put_call(page + 256);
	threads("early threads", early, 4);
	for (int i = 0; i < 4; i++) pthread_create(&late[i], NULL, caller, page);
	threads("late threads", late, 4);
	registers();
	no_stack();
	old_way();
	births();
	kinds();
	many();
	return 0;
}
