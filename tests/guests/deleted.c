// build: gcc -O1
// Its own file is gone, or has become another, while it runs and before it starts.
// patched: libc.so.6 400
#include "again.h"
int main(int argc, char **argv) {
	if (argc > 1) {
		(void)argv;
		SAY("inner %d\n", dup(-1));
		return 11;
	}
	if (system("cp /proc/$PPID/exe gone")) return 1;
	/* Executed through a descriptor after its name is gone. */
	int fd = open("gone", O_RDONLY | O_CLOEXEC);
	unlink("gone");
	pid_t pid = fork();
	if (pid == 0) {
		char *inner[] = {"gone", "inner", NULL};
		fexecve(fd, inner, environ);
		_exit(99);
	}
	wait_for("deleted before it starts", pid);
	int memory = memfd_create("guest", MFD_CLOEXEC);
	char buffer[65536];
	for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;)
		if (write(memory, buffer, n) != n) return 2;
	pid = fork();
	if (pid == 0) {
		char *inner[] = {"memory", "inner", NULL};
		fexecve(memory, inner, environ);
		_exit(99);
	}
	wait_for("from memory", pid);
	return 0;
}
