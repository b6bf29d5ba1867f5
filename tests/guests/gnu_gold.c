// build: gcc -O2 -fuse-ld=gold
// Linked by gold.
// site: site_cet = direct,stone,live-stone,before,clobber
#include "compiled.h"
