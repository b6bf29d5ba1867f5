// Prints what a program may look at, and waits for children that it has not made.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
#ifdef HUGE
__asm__(".text\n.skip 200 << 20, 0x90");
#endif
#ifdef FULL
// From the program to the end of what a fixed address can name.
static char full[4080ul << 20];
#endif
int main(int argc, char **argv) {
#ifdef FULL
    full[argc] = 1;
#endif
    char comm[32] = {0}, link[512] = {0};
    sigset_t blocked, pending;
    int fd = open("/proc/self/comm", O_RDONLY);
    if (read(fd, comm, sizeof comm - 1) < 0 || readlink("/proc/self/exe", link, sizeof link - 1) < 0) return 99;
    printf("fd %d comm %sexe %s\n", fd, comm, link);
    close(fd);
    for (int n = 0; n < argc; n++) printf("arg %s\n", argv[n]);
    char **end = environ;
    for (; *end; end++) printf("env %s\n", *end);
    // Whoever looks for the auxiliary vector behind the environment finds it, and what the kernel prints agrees.
    unsigned long *aux = (unsigned long *)(end + 1);
    while (aux[0] && aux[0] != AT_PAGESZ) aux += 2;
    printf("page %lu %d\n", aux[1], (void *)environ == (void *)(argv + argc + 1));
    static char text[65536];
    fd = open("/proc/self/environ", O_RDONLY);
    long len = read(fd, text, sizeof text);
    close(fd);
    for (long n = 0; n < len; n += strlen(text + n) + 1) printf("kernel %s\n", text + n);
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    sigpending(&pending);
    for (int n = 1; n < 32; n++) {
        struct sigaction now;
        sigaction(n, NULL, &now);
        printf("%d%d%d ", sigismember(&blocked, n), sigismember(&pending, n), now.sa_handler == SIG_IGN);
    }
    int child = waitpid(-1, NULL, __WALL | WNOHANG);
    printf("\nchild %d %s\n", child > 0 ? 1 : child, child > 0 ? "" : strerror(errno));
    return 7;
}
