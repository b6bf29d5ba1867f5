// build: clang -O2 -fuse-ld=lld
// Linked by lld, whose segments lie apart.
// site: site_cet = direct,stone,live-stone,before,clobber
#include "compiled.h"
