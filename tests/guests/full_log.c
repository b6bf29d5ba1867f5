// build: gcc -O1
// A log that cannot be opened, a full disk, a directory, a closed reader: the program goes on.
// patched: libc.so.6 400
#include "again.h"
static const char *log_path;
static void with_log(void) {
	setenv("LIBHOTPATCH_LOGPATH", log_path, 1);
	setenv("LIBHOTPATCH_REPORT", log_path, 1);
	int null = open("/dev/null", O_WRONLY);
	dup2(null, 2);
}
static void with_stderr(void) {
	int fds[2];
	if (pipe(fds)) _exit(99);
	close(fds[0]);
	dup2(fds[1], 2);
	close(fds[1]);
	unsetenv("LIBHOTPATCH_LOGPATH");
	unsetenv("LIBHOTPATCH_REPORT");
}
int main(int argc, char **argv) {
	if (argc > 1) {
		(void)argv;
		return dup(-1) == -1 ? 13 : 1;
	}
	static const char *const paths[] = {"/dev/full", "/nonexistent/log", "/", "", "/dev/null", "log in a place with spaces"};
	for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
		log_path = paths[i];
		SAY("%u: %x\n", i, again("inner", with_log));
	}
	/* Into a pipe that nobody reads any more; to stderr, whatever that is. */
	int fds[2];
	if (pipe(fds)) return 1;
	close(fds[0]);
	static char piped[32];
	snprintf(piped, sizeof piped, "/proc/self/fd/%d", fds[1]);
	log_path = piped;
	SAY("pipe: %x\n", again("inner", with_log));
	close(fds[1]);
	SAY("stderr: %x\n", again("inner", with_stderr));
	setenv("LIBHOTPATCH_TACTICS", "nonsense,,stone", 1);
	setenv("LIBHOTPATCH_SKIP", "[ ! *", 1);
	log_path = "/dev/null";
	SAY("nonsense: %x\n", again("inner", with_log));
	return 0;
}
