// Grows to 2,047 processes, of which each begins two more; all are there at once.
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
enum { DEPTH = 10, ALL = (1 << (DEPTH + 1)) - 1 };
static int grow(int depth, volatile int *there) {
    int failed = 0, children = 0;
    for (int n = 0; n < 2 && depth < DEPTH; n++) {
        pid_t child = fork();
        if (!child) _exit(grow(depth + 1, there));
        child > 0 ? children++ : failed++;
    }
    __sync_fetch_and_add(there, 1);
    while (*there < ALL) usleep(1000);
    for (int status; children > 0 && wait(&status) > 0; children--) failed += status != 0;
    return failed;
}
int main(void) {
    alarm(60);
    volatile int *there = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int failed = grow(0, there);
    printf("%d processes, %d failed\n", *there, failed);
    return failed;
}
