// build: gcc -O2 -pthread
// glibc 2.41 decides by the interrupted address whether a cancelled call was made.
// libc: newer
// patched: newer-libc 400
#include "cancel.h"
