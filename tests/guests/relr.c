// build: gcc -O2 -Wl,-z,pack-relative-relocs
// Tables of code addresses behind packed relative relocations.
// site: site_cet = direct,stone,live-stone,before,clobber
#include "compiled.h"
