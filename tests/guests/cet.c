// build: gcc -O2 -fcf-protection=full
// A build for control-flow enforcement: endbr64 at every function and behind every indirect target.
// site: site_cet = direct,stone,live-stone,before,clobber
#include "compiled.h"
