// build: gcc -O2 -fpatchable-function-entry=16,8
// No-ops before and at each function's start, which belong to somebody who may write them later.
// site: site_cet = direct,stone,live-stone,before,clobber
#include "compiled.h"
