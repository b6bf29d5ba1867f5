// build: gcc -O2 -pthread
// fork, vfork, posix_spawn, system, popen and exec, from the main thread and from others.
// patched: libc.so.6 400
#include "guest.h"
#include <spawn.h>

extern char **environ;

static void each(void) {
	pid_t pid = fork();
	if (pid == 0) {
		if (getpid() == getppid()) _exit(1);
		_exit(3);
	}
	wait_for("fork", pid);
	if ((pid = vfork()) == 0) _exit(4);
	wait_for("vfork", pid);
	if ((pid = vfork()) == 0) {
		execl("/bin/sh", "sh", "-c", "echo in vfork child; exit 5", NULL);
		_exit(127);
	}
	wait_for("vfork and exec", pid);
	if ((pid = vfork()) == 0) {
		execl("/nonexistent", "x", NULL);
		_exit(errno);
	}
	wait_for("vfork and failed exec", pid);
	char *argv[] = {"sh", "-c", "echo spawned; kill -9 $$", NULL};
	int error = posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ);
	if (error) SAY("posix_spawn: %s\n", strerror(error));
	else wait_for("posix_spawn", pid);
	error = posix_spawn(&pid, "/nonexistent", NULL, NULL, argv, environ);
	SAY("posix_spawn of nothing: %s\n", strerror(error));
	posix_spawnattr_t attr;
	sigset_t set;
	sigemptyset(&set), sigaddset(&set, SIGUSR1);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigdefault(&attr, &set);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	char *kill[] = {"sh", "-c", "kill -USR1 $$; exit 1", NULL};
	error = posix_spawnp(&pid, "sh", NULL, &attr, kill, environ);
	wait_for("posix_spawnp with default signals", error ? -1 : pid);
	show_status("system", system("echo in system; exit 7"));
	char line[64];
	FILE *pipe = popen("echo through popen", "r");
	SAY("%s", fgets(line, sizeof line, pipe));
	show_status("pclose", pclose(pipe));
}

static void *thread(void *arg) {
	each();
	return arg;
}

static void on_usr1(int number) { (void)number; }

int main(void) {
	signal(SIGUSR1, on_usr1);
	each();
	pthread_t id;
	pthread_create(&id, 0, thread, 0);
	pthread_join(id, 0);
	raise(SIGUSR1);
	/* Deep: each generation forks the next. */
	for (int depth = 0; depth < 20; depth++) {
		pid_t pid = fork();
		if (pid) {
			int status;
			waitpid(pid, &status, 0);
			if (depth) _exit(WEXITSTATUS(status));
			show_status("generations", status);
			return 0;
		}
	}
	_exit(9);
}
