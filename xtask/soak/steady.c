/* Writes lines to the file argv[1], each whole, in several processes and threads; the last line says that all is done. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int file;

static void *thread(void *arg) {
	for (int n = 0; n < 50; n++) {
		char line[64];
		int len = snprintf(line, sizeof line, "%d.%ld line %d\n", getpid(), (long)arg, n);
		if (write(file, line, len) != len) return arg;
	}
	return NULL;
}

int main(int argc, char **argv) {
	if (argc < 2) return 2;
	file = open(argv[1], O_WRONLY | O_APPEND | O_CREAT, 0600);
	for (int n = 0; n < 3; n++) {
		if (fork() == 0) {
			pthread_t one;
			pthread_create(&one, NULL, thread, (void *)1);
			thread((void *)2);
			pthread_join(one, NULL);
			_exit(3);
		}
	}
	int status;
	while (wait(&status) > 0)
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 3) return 4;
	return write(file, "done\n", 5) == 5 ? 0 : 5;
}
