#define VERDICT HOTPATCH_RUN_AND_RETURN
#include "hosted.h"

HOOK("hosted_after", 0);
