// Execs its second argument in the way that its first one says.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static char *args[] = {"looks", "arg", NULL}, *environment[] = {"A=b", NULL};
static volatile int came;
static void handle(int signal) { came += signal == SIGCHLD; }
static void *from_thread(void *path) { execve(path, args, environment); return NULL; }
int main(int argc, char **argv) {
    char *way = argv[1], *path = argv[2];
    int status = 0;
    pid_t child = 0;
    if (!strcmp(way, "spawn")) {
        if (posix_spawn(&child, path, NULL, NULL, args, environment)) return 98;
    } else if (!strcmp(way, "vfork")) {
        if (!(child = vfork())) { execve(path, args, environment); _exit(97); }
    } else if (!strcmp(way, "thread")) {
        pthread_t thread;
        pthread_create(&thread, NULL, from_thread, path);
        pthread_join(thread, NULL);
    } else if (!strcmp(way, "fexecve")) {
        fexecve(open(path, O_RDONLY | O_CLOEXEC), args, environment);
    } else if (!strcmp(way, "blocked")) {
        sigset_t all;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
        execve(path, args, environment);
    } else if (!strcmp(way, "pending")) {
        // A child that has ended, and the signal that says so.
        sigset_t set, now;
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, NULL);
        if (!(child = fork())) _exit(5);
        do sigpending(&now); while (!sigismember(&now, SIGCHLD));
        execve(path, args, environment);
    } else if (!strcmp(way, "nocldwait") || !strcmp(way, "handled")) {
        struct sigaction action = {.sa_handler = handle, .sa_flags = !strcmp(way, "handled") ? 0 : SA_NOCLDWAIT};
        sigaction(SIGCHLD, &action, NULL);
        if (!(child = vfork())) { execve(path, args, environment); _exit(97); }
        while (waitpid(child, &status, __WALL) > 0 || errno == EINTR) ;
        printf("status %x %d %s\n", status, came, strerror(errno));
        execve(path, args, environment);
    } else if (!strcmp(way, "closed")) {
        for (int fd = 0; fd < 1024; fd++) close(fd);
        execve(path, args, environment);
    } else if (!strcmp(way, "busy")) {
        // Somebody writes to the file: until that ends it is no program.
        int fd = open(path, O_WRONLY);
        printf("%d ", execve(path, args, environment));
        printf("%s\n", strerror(errno));
        fflush(stdout);
        close(fd);
        execve(path, args, environment);
    } else if (!strcmp(way, "failing")) {
        char *paths[] = {"/nonexistent", "/etc/passwd", "/", NULL};
        for (char **p = paths; p == paths || p[-1]; p++) {
            int result = execve(*p, args, environment);
            printf("%d %s\n", result, strerror(errno));
        }
        printf("child %d\n", waitpid(-1, NULL, __WALL));
        return 3;
    }
    if (child > 0 && waitpid(child, &status, 0) == child) printf("status %x\n", status);
    return 4;
}
