// build: gcc -O2 -no-pie -fno-pie
// An executable at fixed addresses, whose tables hold code addresses with no relocation to say so.
// site: site_cet = direct,stone,live-stone,before,clobber
#include "compiled.h"
