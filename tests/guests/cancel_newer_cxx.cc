// build: g++ -O2 -pthread
// glibc 2.41 ends a cancelled thread by unwinding from the handler, through the call that was interrupted.
// libc: newer
// limit-alone: destructors
// patched: newer-libc 400
#include "cancel_cxx.cc"
