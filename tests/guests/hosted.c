// build: gcc -O1 -pthread
// hook: hosted_threads
// hook: hosted_run hosted_threads
// hook: hosted_threads run hosted_after
// hook: hosted_after_arguments hosted_run_arguments hosted_after_reads
// patched: libc.so.6 400
// timeout: 60
// Threads, forks, signals, and changes of ids beside a hook that has threads and locks of its own.
#include "guest.h"
#include <spawn.h>
#include <stdatomic.h>

extern char **environ;
static atomic_int stop, handled, strange;
static pthread_key_t mine;
static __thread int own;
static void *work(void *arg) {
	own = 1;
	char *text = malloc(10);
	pthread_setspecific(mine, text);
	while (!stop) {
		close(open("/dev/null", O_RDONLY));
		sched_yield();
		if (pthread_getspecific(mine) != text) strange++;
	}
	free(text);
	return arg;
}

/* Every thread of the program's has `own` set: a hook's thread has not, and must not come here. */
static void handler(int signal) {
	(void)signal;
	if (!own) strange++;
	getppid();
	handled++;
}

static int child(pid_t pid) {
	int status = -1;
	if (pid == 0) {
		for (int i = 0; i < 20; i++) close(open("/dev/null", O_RDONLY));
		_exit(7);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void *forks(void *arg) {
	int count = 0;
	own = 1;
	for (int i = 0; i < 20; i++) {
		int *text = malloc(10);
		pthread_setspecific(mine, text);
		pid_t pid = fork();
		if (pid == 0) {
			/* What the thread had is its child's, and that can begin threads. */
			pthread_t thread;
			int good = pthread_getspecific(mine) == text && own && getpid() == syscall(SYS_gettid);
			stop = 1;
			good = good && !pthread_create(&thread, NULL, work, NULL) && !pthread_join(thread, NULL);
			if (i % 2) _exit(good ? 7 : 1);
			int again = child(fork());
			_exit(good ? again : 2);
		}
		count += child(pid) == 7;
		count += child((pid_t)syscall(SYS_fork)) == 7;
		char *args[] = {"true", NULL};
		int status = 1;
		if (!posix_spawnp(&pid, "true", NULL, NULL, args, environ)) waitpid(pid, &status, 0);
		count += status == 0;
		free(text);
	}
	*(int *)arg = count;
	return NULL;
}

static void *ids(void *arg) {
	own = 1;
	*(int *)arg = setgid(0) == 0 ? getegid() == 0 : errno == EPERM;
	return NULL;
}

int main(void) {
	pthread_t threads[6], other;
	int count = 0, main_count = 0, changed = 0;
	own = 1;
	setvbuf(stdout, NULL, _IONBF, 0);
	pthread_key_create(&mine, NULL);
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGRTMIN, &action, NULL);
	for (int i = 0; i < 6; i++) pthread_create(&threads[i], NULL, work, NULL);
	pthread_create(&other, NULL, forks, &count);
	forks(&main_count);
	pthread_join(other, NULL);
	SAY("children of a thread: %d, of main: %d\n", count, main_count);
	for (int i = 0; i < 300; i++) {
		union sigval value = {0};
		while (sigqueue(getpid(), SIGRTMIN, value)) sched_yield();
	}
	while (handled < 300) usleep(1000);
	SAY("signals %d\n", handled);
	for (int i = 0; i < 20; i++) {
		pthread_create(&other, NULL, ids, &changed);
		pthread_join(other, NULL);
		if (!changed) break;
	}
	SAY("ids %d\n", changed);
	stop = 1;
	for (int i = 0; i < 6; i++) pthread_join(threads[i], NULL);
	SAY("strange %d\n", strange);
	return 0;
}
