// build: clang -O2
// What clang makes of the same.
// site: site_cet = direct,stone,live-stone,before,clobber
#include "compiled.h"
