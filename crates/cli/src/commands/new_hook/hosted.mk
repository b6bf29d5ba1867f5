# A hosted hook is a shared library like any other.
CFLAGS = -std=c11 -O2 -g -Wall -Wextra
HOOK_CFLAGS = -fPIC -fvisibility=hidden -pthread
HOOK_LDFLAGS = -shared -Wl,-z,defs

NAME.so: NAME.c hotpatch.h
	$(CC) $(CFLAGS) $(HOOK_CFLAGS) $(LDFLAGS) $(HOOK_LDFLAGS) -o $@ NAME.c

run: NAME.so
	hotpatch run --hook ./NAME.so -- ls

clean:
	$(RM) NAME.so

.PHONY: run clean
