// build: gcc -O1
// An executable one may run but not read: the kernel then hides /proc/self from it (dumpable is 0).
// patched: libc.so.6 400
#include "again.h"
static void give_up_root(void) {
	if (setgid(65534) || setuid(65534)) _exit(99);
}
int main(int argc, char **argv) {
	if (argc > 1) {
		(void)argv;
		SAY("inner: dumpable %d, %d\n", prctl(PR_GET_DUMPABLE), dup(-1));
		pid_t pid = fork();
		if (pid == 0) _exit(6);
		wait_for("fork", pid);
		return 12;
	}
	if (geteuid()) {
		SAY("this guest needs root\n");
		return 77;
	}
	char dir[] = "/tmp/hotpatch-unreadable-XXXXXX", path[64];
	if (!mkdtemp(dir) || chmod(dir, 0755)) return 1;
	snprintf(path, sizeof path, "%s/guest", dir);
	char line[128];
	snprintf(line, sizeof line, "cp /proc/$PPID/exe %s && chmod 0711 %s", path, path);
	if (system(line)) return 2;
	pid_t pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);
		/* What could not be patched may be said there. */
		dup2(null, 2);
		give_up_root();
		execl(path, "guest", "inner", NULL);
		_exit(98);
	}
	wait_for("unreadable", pid);
	unlink(path);
	rmdir(dir);
	/* As another user, readable. */
	wait_for("forked", (pid = fork()) ? pid : (give_up_root(), execl("/bin/sh", "sh", "-c", "exit 5", NULL), _exit(97), 0));
	SAY("%x\n", again("inner", give_up_root));
	return 0;
}
