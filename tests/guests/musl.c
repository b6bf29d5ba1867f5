// build: musl-gcc -O2 -pthread
// musl instead of glibc.
// patched: libc.so 300
#include "guest.h"

static void *thread(void *arg) { return (void *)(long)(dup(-1) + (long)arg); }
int main(void) {
	for (int i = 0; i < 50; i++) {
		pthread_t id;
		void *result;
		pthread_create(&id, 0, thread, (void *)(long)i);
		pthread_join(id, &result);
		if ((long)result != i - 1) SAY("wrong %ld\n", (long)result);
	}
	pid_t pid = fork();
	if (pid == 0) {
		execl("/bin/echo", "echo", "exec from musl", NULL);
		_exit(1);
	}
	wait_for("fork", pid);
	SAY("%d\n", WEXITSTATUS(system("exit 12")));
	sigset_t set;
	sigemptyset(&set), sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR1);
	int number;
	sigwait(&set, &number);
	SAY("%d\n", number);
	FILE *file = fopen("/proc/self/stat", "r");
	char line[64];
	SAY("%d\n", fgets(line, sizeof line, file) != NULL);
	return 0;
}
