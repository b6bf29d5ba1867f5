// build: gcc -O2 -Wl,-z,noseparate-code
// Read-only data and headers in the executable segment, as older links have it.
// site: site_cet = direct,stone,live-stone,before,clobber
#include "compiled.h"
