// build: musl-gcc -O2 -pthread
// pthread_cancel in musl decides by the interrupted address; its one such site is patched like any other.
// patched: libc.so 300
#include "cancel.h"
