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
	setenv("LIBHOTPATCH_TACTICS", "nonsense,,stone", 1);
	setenv("LIBHOTPATCH_SKIP", "[ ! *", 1);
	log_path = "/dev/null";
	SAY("nonsense: %x\n", again("inner", with_log));
	return 0;
}
