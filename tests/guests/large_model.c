// build: gcc -O2 -fno-pie -no-pie -mcmodel=large -ffunction-sections -falign-functions=1 -falign-labels=1
// Absolute 64-bit addresses in instructions, functions packed without a gap.
// site: site_cet = direct,stone,live-stone,before,clobber
#include "compiled.h"
