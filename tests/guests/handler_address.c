// build: gcc -O1 -pthread -rdynamic
// A handler that interrupts a blocking call sees the call's own address and the true stack, whatever a hook does.
// only: ladder hook-run hook-run_arguments hook-after hook-after_arguments hook-run_reads hook-after_reads hook-record
// hook: after_arguments run
// site: site_read = direct,stone,live-stone,before,clobber
// patched: libc.so.6 400
#include "guest.h"
#include <dlfcn.h>
#include <execinfo.h>
#include <ucontext.h>

long own_read(long fd, void *to, long len);
extern const int offset_read;
__asm__(".text\n.globl own_read, site_read\n.type own_read, @function\nown_read: .cfi_startproc\n xor %eax, %eax\n"
	" mov %eax, %eax\nsite_read: syscall\n cmp $-4, %rax\n jne 1f\n mov $-44, %rax\n1: ret\n.cfi_endproc\n.size own_read, .-own_read\n"
	".pushsection .rodata\n.balign 4\n.globl offset_read\noffset_read: .long site_read-own_read\n.popsection\n");

static int fds[2];
static volatile int at, behind, named, deep, args, feed;
static void handler(int number, siginfo_t *info, void *context) {
	(void)number, (void)info;
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	char *site = (char *)own_read + offset_read;
	at += r[REG_RIP] == (greg_t)site;
	behind += r[REG_RIP] == (greg_t)site + 2;
	args += r[REG_RDI] == fds[0] && r[REG_RDX] == 1 && (r[REG_RIP] != (greg_t)site || r[REG_RAX] == 0);
	Dl_info there;
	named += dladdr((void *)r[REG_RIP], &there) && there.dli_sname && !strcmp(there.dli_sname, "own_read");
	void *frames[20];
	int n = backtrace(frames, 20), found = 0;
	for (int i = 0; i < n; i++)
		found |= dladdr(frames[i], &there) && there.dli_sname && !strcmp(there.dli_sname, "blocked");
	deep += found;
	if (feed) (void)!write(fds[1], "x", 1);
}
__attribute__((noinline)) long blocked(void) {
	char byte;
	long value = own_read(fds[0], &byte, 1);
	__asm__ volatile("" ::: "memory");
	return value;
}
static void library(int number, siginfo_t *info, void *context) {
	(void)number, (void)info;
	Dl_info there;
	void *rip = (void *)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	named += dladdr(rip, &there) && there.dli_fname && strstr(there.dli_fname, "libc.so");
	void *frames[20];
	int n = backtrace(frames, 20), found = 0;
	for (int i = 0; i < n; i++)
		found |= dladdr(frames[i], &there) && there.dli_sname && !strcmp(there.dli_sname, "main");
	deep += found;
}

int main(void) {
	if (pipe(fds)) return 1;
	void *warm[4];
	backtrace(warm, 4);
	for (int flags = 0; flags < 2; flags++) {
		struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | (flags ? SA_RESTART : 0)};
		sigaction(SIGUSR1, &action, NULL);
		at = behind = named = deep = args = 0;
		feed = flags;
		for (int i = 0; i < 20; i++) {
			interrupt(SIGUSR1, SYS_read);
			long value = blocked();
			if (value != (flags ? 1 : -44)) SAY("%ld\n", value);
		}
		SAY("restart %d: at %d, behind %d, named %d, stack %d, arguments %d\n", flags, at, behind, named, deep, args);
	}
	struct sigaction action = {.sa_sigaction = library, .sa_flags = SA_SIGINFO};
	sigaction(SIGUSR1, &action, NULL);
	named = deep = 0;
	for (int i = 0; i < 10; i++) {
		interrupt(SIGUSR1, SYS_clock_nanosleep);
		usleep(60000000);
		interrupt(SIGUSR1, SYS_poll);
		struct pollfd none = {.fd = -1};
		poll(&none, 1, 60000);
	}
	SAY("in libc: %d, stack %d\n", named, deep);
	return 0;
}
