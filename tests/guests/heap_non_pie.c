// build: gcc -O1 -no-pie -fno-pie
// The break of a program at a fixed address lies right behind it, where trampolines might be put.
// patched: libc.so.6 400
#include "heap.c"
