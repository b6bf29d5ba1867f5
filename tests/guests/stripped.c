// build: gcc -O2 -s -fno-asynchronous-unwind-tables -nostartfiles -Wl,-e,begin -Wl,--build-id=none
// Neither symbols nor unwind tables, and an entry point of its own.
// patched: stripped 3
#define OWN_ENTRY
#include "compiled.h"
