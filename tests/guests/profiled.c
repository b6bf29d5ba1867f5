// build: gcc -O2 -pg -mfentry
// Calls to __fentry__ at each function's start.
// site: site_cet = direct,stone,live-stone,before,clobber
#include "compiled.h"
