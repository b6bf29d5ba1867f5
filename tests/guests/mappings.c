// build: gcc -O1 -pthread
// No mapping is ever writable and executable, those of files are as they are natively, and the stack is not executable.
// limit: run.so run_arguments.so after.so after_arguments.so run_reads.so after_reads.so record.so hosted_run.so hosted_after.so
// patched: libc.so.6 400
#include "guest.h"
static volatile int stop;
static volatile int bad;
static void *watch(void *arg) {
	while (!stop) {
		FILE *file = fopen("/proc/self/maps", "r");
		char line[512];
		while (fgets(line, sizeof line, file))
			if (strstr(line, "rwxp") || strstr(line, "-wxp")) bad++;
		fclose(file);
	}
	return arg;
}
int main(void) {
	pthread_t thread;
	pthread_create(&thread, 0, watch, 0);
	FILE *file = fopen("/proc/self/maps", "r");
	char line[512], files[64][256];
	int count = 0;
	while (fgets(line, sizeof line, file)) {
		unsigned long from, to, offset;
		char flags[8], path[256] = "";
		sscanf(line, "%lx-%lx %7s %lx %*s %*s %255s", &from, &to, flags, &offset, path);
		const char *name = strrchr(path, '/');
		if (path[0] == '[' && strcmp(path, "[stack]") && strcmp(path, "[vdso]")) continue;
		if (!path[0] || strstr(path, "libhotpatch")) continue;
		if (!strncmp(name ? name + 1 : path, "mappings", 8)) name = "/guest";
		if (!strcmp(path, "[stack]")) to = from;
		snprintf(files[count], 256, "%s %s %lx %lx", name ? name + 1 : path, flags, offset, to - from);
		/* A hosted hook has a C library of its own. */
		int seen = 0;
		for (int i = 0; i < count; i++) seen |= !strcmp(files[i], files[count]);
		if (!seen && count < 63) count++;
	}
	fclose(file);
	for (int i = 0; i < count; i++) SAY("%s\n", files[i]);
	usleep(20000);
	stop = 1;
	pthread_join(thread, 0);
	SAY("writable and executable %d\n", bad);
	return 0;
}
