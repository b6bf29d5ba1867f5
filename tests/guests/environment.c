// build: gcc -O1
// Nothing in the environment but the preload itself; nothing at all; no arguments; a huge environment.
// patched: libc.so.6 400
#include "again.h"
static char *vector[4];
static pid_t start(char **argv, char **env) {
	pid_t pid = fork();
	if (pid == 0) {
		execve("/proc/self/exe", argv, env);
		_exit(99);
	}
	return pid;
}
int main(int argc, char **argv) {
	if (argc != 1 || !strcmp(argv[0], "inner") || argv[0][0] == 0) {
		int count = 0;
		for (char **e = environ; *e; e++) count += strncmp(*e, "LD_PRELOAD=", 11) && strncmp(*e, "LIBHOTPATCH", 11);
		return 10 + (count > 200 ? 200 : count);
	}
	char *inner[] = {"inner", NULL};
	for (char **e = environ; *e; e++)
		if (!strncmp(*e, "LD_PRELOAD=", 11)) vector[0] = *e;
	fflush(stdout);
	int quiet = dup(2), null = open("/dev/null", O_WRONLY);
	/* Its log goes to stderr then. */
	dup2(null, 2);
	wait_for("preload alone", start(inner, vector));
	dup2(quiet, 2);
	vector[0] = NULL;
	wait_for("nothing", start(inner, vector));
	char *none[] = {"", NULL};
	wait_for("empty name", start(none, environ));
	static char *huge[2000];
	int n = 0;
	for (char **e = environ; *e; e++)
		if (!strncmp(*e, "LD_PRELOAD=", 11) || !strncmp(*e, "LIBHOTPATCH", 11)) huge[n++] = *e;
	for (int i = 0; i < 1000; i++) {
		huge[n] = malloc(100);
		snprintf(huge[n++], 100, "V%d=%060d", i, i);
	}
	wait_for("huge", start(inner, huge));
	return 0;
}
