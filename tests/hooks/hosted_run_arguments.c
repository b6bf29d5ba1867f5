#define VERDICT HOTPATCH_RUN
#include "hosted.h"

HOOK("hosted_run_arguments", HOTPATCH_ARGUMENTS_ONLY);
