#define VERDICT HOTPATCH_RUN
#include "hosted.h"

HOOK("hosted_run", 0);
