// build: gcc -O2 -pthread
// pthread_cancel in a blocking read runs cleanup handlers; a cancelled call does nothing else.
// patched: libc.so.6 400
#include "cancel.h"
