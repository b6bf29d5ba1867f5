// build: gcc -O1
// The program sees the descriptors it would see natively; closing all of them or moving its own over stderr hurts nobody.
// patched: libc.so.6 400
#include "again.h"
#include <dirent.h>

static void list(void) {
	int open[64], count = 0;
	DIR *dir = opendir("/proc/self/fd");
	for (struct dirent *entry; (entry = readdir(dir));)
		if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(dir)) open[count++] = atoi(entry->d_name);
	closedir(dir);
	for (int i = 0; i < count; i++) SAY("%d ", open[i]);
	SAY("\n");
}
static void redirect(void) {
	int fd = open("redirected", O_RDWR | O_CREAT | O_TRUNC, 0600);
	dup2(fd, 2);
	close(fd);
}
int main(int argc, char **argv) {
	if (argc > 1) {
		(void)argv;
		list();
		struct stat file;
		SAY("stderr holds %d bytes\n", fstat(2, &file) ? -1 : (int)file.st_size);
		return 3;
	}
	list();
	SAY("%x\n", again("inner", NULL));
	SAY("%x\n", again("inner", redirect));
	int stdout_copy = dup(1);
	close_range(3, stdout_copy - 1, 0);
	close_range(stdout_copy + 1, ~0u, 0);
	list();
	closefrom(3);
	list();
	for (int fd = 3; fd < 1024; fd++)
		if (close(fd) == 0) SAY("%d was open\n", fd);
	redirect();
	if (write(2, "mine", 4) != 4) SAY("write\n");
	char text[16] = "";
	int fd = open("redirected", O_RDONLY);
	if (read(fd, text, 15) < 0) SAY("read\n");
	SAY("%d %s\n", fd, text);
	pid_t pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", "exit 4", NULL);
		_exit(1);
	}
	wait_for("sh", pid);
	return 0;
}
