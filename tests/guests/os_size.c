// build: gcc -Os -fno-asynchronous-unwind-tables
// No padding between functions and no unwind tables.
// site: site_cet = direct,stone,live-stone,before,clobber
#include "compiled.h"
