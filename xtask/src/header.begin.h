/*
 * Hooks for libhotpatch in C and C++: your code in place of a program's system calls.
 *
 * Made from crates/abi by `cargo xtask header`: do not edit.
 *
 *     gcc -O2 -fPIC -ffreestanding -fno-stack-protector -mgeneral-regs-only -fvisibility=hidden \
 *         -shared -nostdlib -Wl,-z,defs -o hook.so hook.c
 *     hotpatch run --hook ./hook.so -- ls
 *
 * A hook runs in the program, on any of its threads and on several at once, in the middle of whatever the program was
 * doing. It has no libc and must not wait for a lock; it reads and writes the program's memory by `services->read`
 * and `write` alone; it uses no vector register. `hotpatch new-hook --c NAME` writes a project to start from.
 */
#ifndef HOTPATCH_H
#define HOTPATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__STDC_HOSTED__) && __STDC_HOSTED__ == 0 && defined(__SSE__)
#error "a freestanding hook must leave vector registers alone: compile it with -mgeneral-regs-only"
#endif

#ifdef __cplusplus
extern "C" {
#endif
