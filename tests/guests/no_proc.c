// build: gcc -O1
// Starts in a root directory of its own that has no /proc, and in one where /proc is empty.
// patched: libc.so.6 400
#include "again.h"
#include <sys/mount.h>

static void copy(const char *from, const char *to) {
	char line[512];
	snprintf(line, sizeof line, "mkdir -p $(dirname root%s) && cp -L %s root%s", to, from, to);
	if (system(line)) SAY("cannot copy %s\n", from);
}
int main(int argc, char **argv) {
	if (argc > 1) {
		(void)argv;
		SAY("inside: %s\n", access("/proc/self/maps", F_OK) ? "no proc" : "proc");
		pid_t pid = fork();
		if (pid == 0) _exit(8);
		wait_for("fork", pid);
		return 9;
	}
	if (geteuid()) {
		SAY("this guest needs root\n");
		return 77;
	}
	copy("/proc/$PPID/exe", "/guest");
	copy("/lib64/ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2");
	copy("/lib/x86_64-linux-gnu/libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6");
	const char *library = getenv("LD_PRELOAD");
	if (library) copy(library, library);
	for (int empty = 0; empty < 2; empty++) {
		if (empty && mkdir("root/proc", 0755)) SAY("mkdir: %m\n");
		pid_t pid = fork();
		if (pid == 0) {
			int null = open("/dev/null", O_WRONLY);
			/* What the library says about the missing /proc is its own affair. */
			dup2(null, 2);
			if (chroot("root") || chdir("/")) _exit(99);
			execl("/guest", "guest", "inner", NULL);
			_exit(98);
		}
		wait_for("chroot", pid);
	}
	return 0;
}
