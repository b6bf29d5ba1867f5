// build: gcc -O1 -pthread -ldl -lm
// library: calls
// setting: LIBHOTPATCH_LAZY=1
// Files are patched when they are first executed: by a thread, a child, a handler, on any stack, with anything blocked,
// many threads at once; and a program's own faults stay its own.
// patched: libc.so.6 400
// log: files wait for being executed
// only: ladder hook-run hook-after hook-record
#include "guest.h"
#include <dlfcn.h>
#include <ucontext.h>
typedef long (*call_t)(long, long, long, long);
static call_t any;
static long (*by_stone)(void);
static void open_it(void) {
	void *library = dlopen(LIBRARY, RTLD_NOW);
	any = library ? (call_t)dlsym(library, "any") : NULL;
	by_stone = library ? (long (*)(void))dlsym(library, "pid_by_stone") : NULL;
	if (!any || !by_stone) SAY("no library\n"), exit(1);
}
static int works(void) { return any(SYS_getppid, 0, 0, 0) == getppid() && by_stone() == getpid(); }

static volatile int good, faults;
static void handler(int number) { good += number == SIGUSR1 && works(); }
static sigjmp_buf back;
static void *volatile wanted;
static void on_fault(int number, siginfo_t *info, void *context) {
	(void)context;
	faults += number == SIGSEGV && info->si_addr == wanted;
	siglongjmp(back, 1);
}
static int fault(void *at) {
	wanted = at;
	if (!sigsetjmp(back, 1)) *(volatile char *)at = 1;
	return faults;
}
static void *first(void *arg) {
	pthread_barrier_wait(arg);
	return (void *)(long)works();
}
static ucontext_t here, there;
static void on_small_stack(void) { good += works(), swapcontext(&there, &here); }
static unsigned char small[8192] __attribute__((aligned(4096))), large[65536];

static void scene(int number) {
	sigset_t all, none, some;
	sigfillset(&all), sigemptyset(&none), some = all;
	sigdelset(&some, SIGUSR1);
	struct sigaction action = {.sa_handler = handler};
	struct timespec now = {0, 0};
	switch (number) {
	case 0: good = works(); break;
	case 1: sigprocmask(SIG_SETMASK, &all, NULL), good = works(), sigprocmask(SIG_SETMASK, &none, NULL); break;
	case 2: signal(SIGSEGV, SIG_IGN), good = works(); break;
	case 3: sigaction(SIGUSR1, &action, NULL), raise(SIGUSR1); break;
	case 4: action.sa_mask = all, sigaction(SIGUSR1, &action, NULL), raise(SIGUSR1); break;
	case 5: /* blocked by a call that nobody looks at */
		sigaddset(&none, SIGUSR1), sigaction(SIGUSR1, &action, NULL), sigprocmask(SIG_SETMASK, &none, NULL), raise(SIGUSR1);
		if (ppoll(NULL, 0, &now, &some) != -1 || errno != EINTR) SAY("ppoll: %m\n");
		break;
	case 6: { /* 4 kB for the handler, a page of its own below */
		stack_t stack = {.ss_sp = small + 4096, .ss_size = 4096};
		action.sa_flags = SA_ONSTACK, sigaction(SIGUSR1, &action, NULL), memset(small, 0x55, 4096);
		if (!sigaltstack(&stack, NULL)) raise(SIGUSR1);
		else good = works();
		for (int i = 0; i < 4096; i++) if (small[i] != 0x55) SAY("below\n"), i = 4096;
		break;
	}
	case 7: { /* many threads at once */
		pthread_t threads[8];
		pthread_barrier_t barrier;
		pthread_barrier_init(&barrier, NULL, 8);
		for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, first, &barrier);
		for (int i = 0; i < 8; i++) {
			void *works;
			pthread_join(threads[i], &works), good += (int)(long)works;
		}
		break;
	}
	case 8: { /* in a child of this one, while this one waits, and then here */
		pid_t pid = fork();
		if (!pid) _exit(works() ? 7 : 8);
		wait_for("child", pid), good = works();
		break;
	}
	case 9: { /* on a stack that has little room */
		getcontext(&there), there.uc_stack.ss_sp = small, there.uc_stack.ss_size = sizeof small;
		makecontext(&there, on_small_stack, 0), swapcontext(&here, &there);
		break;
	}
	case 10: { /* a fault of the program's, ahead and behind, at its own text too */
		struct sigaction own = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
		sigaction(SIGSEGV, &own, NULL);
		SAY("faults %d %d\n", fault((void *)16), fault((void *)(uintptr_t)any));
		good = works();
		SAY("faults %d %d\n", fault((void *)16), fault((void *)(uintptr_t)any));
		break;
	}
	case 11: { /* by default: it ends the process */
		struct rlimit none = {0, 0};
		setrlimit(RLIMIT_CORE, &none);
		*(volatile char *)(uintptr_t)any = 1;
		break;
	}
	case 12: { /* protected and unmapped by the program */
		uintptr_t page = (uintptr_t)any & ~4095ul;
		if (mprotect((void *)page, 4096, PROT_READ | PROT_EXEC)) SAY("mprotect: %m\n");
		good = works();
		break;
	}
	case 13: { /* a handler that takes the alternate stack it finds */
		stack_t was, big = {.ss_sp = large, .ss_size = sizeof large};
		sigaltstack(NULL, &was), SAY("stack %x %zx\n", was.ss_flags, was.ss_size);
		action.sa_flags = SA_ONSTACK, sigaction(SIGUSR1, &action, NULL), raise(SIGUSR1);
		sigaltstack(&big, &was), SAY("stack %x %zx\n", was.ss_flags, was.ss_size), raise(SIGUSR1);
		break;
	}
	}
	SAY("good %d\n", good);
}
int main(void) {
	SAY("%.3f\n", (double)getpid() * 0);
	for (int number = 0; number < 14; number++)
		for (int early = 0; early < 2; early++) {
			SAY("scene %d, %d\n", number, early);
			pid_t pid = fork();
			if (!pid) alarm(10), open_it(), early ? (void)works() : (void)0, scene(number), exit(0);
			wait_for("ends", pid);
		}
	return 0;
}
