#!/bin/bash
# gdb with an inferior: breakpoints, steps, a backtrace out of a blocking call, a signal. With hosted hooks it has threads, of
# which gdb names the one.
# needs: gdb gdb
# needs: gcc gcc
# patches: gdb
# timeout: 60
exec 2>&1
cat > a.c <<'C'
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
static int seen;
static void handler(int n) { seen = n; }
int work(int n) { int s = 0; for (int i = 0; i < n; i++) s += i; return s; }
int main(void) { signal(SIGUSR1, handler); printf("%d\n", work(5)); raise(SIGUSR1); printf("%d\n", seen); usleep(1000); *(volatile int *)0 = 1; return 0; }
C
gcc -g -O0 a.c -o a
gdb -q -nx -batch -ex 'set debuginfod enabled off' -ex 'set style enabled off' -ex 'handle SIGUSR1 nostop noprint pass' -ex 'break work' -ex run -ex bt -ex 'print n' -ex 'finish' -ex 'break handler' -ex continue -ex 'up 1' -ex delete -ex continue -ex 'print seen' -ex 'bt 1' -ex kill ./a 2>&1 | grep -vE 'Using host|libthread_db|Inferior|warning|^\[|^#1|raise|kill|No such file|^$|in \?\?' | sed -E 's/0x[0-9a-f]+/ADDR/g; s/^Thread 1 "a" (hit|received)/Program \1/; s/^Program hit //'
echo $?
