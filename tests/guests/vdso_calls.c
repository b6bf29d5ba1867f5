// build: gcc -O1
// The vDSO's functions as system calls, which hooks see: results and errors are the same.
// setting: LIBHOTPATCH_VDSO=hook
// only: hook-run hook-run_arguments hook-after hook-after_arguments hook-run_reads hook-after_reads hook-record
// patched: [vdso] 9
#include "guest.h"
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>

static const void *function(const char *name) {
	const char *base = (const char *)getauxval(AT_SYSINFO_EHDR);
	const ElfW(Ehdr) *head = (const void *)base;
	const ElfW(Phdr) *segment = (const void *)(base + head->e_phoff);
	const ElfW(Sym) *symbols = NULL;
	const char *names = NULL;
	const unsigned *hash = NULL;
	for (int i = 0; i < head->e_phnum; i++) {
		if (segment[i].p_type != PT_DYNAMIC) continue;
		for (const ElfW(Dyn) *d = (const void *)(base + segment[i].p_offset); d->d_tag; d++) {
			const void *at = base + d->d_un.d_ptr;
			if (d->d_tag == DT_SYMTAB) symbols = at;
			if (d->d_tag == DT_STRTAB) names = at;
			if (d->d_tag == DT_HASH) hash = at;
		}
	}
	for (unsigned i = 0; hash && i < hash[1]; i++)
		if (!strcmp(names + symbols[i].st_name, name)) return base + symbols[i].st_value;
	return NULL;
}

int main(void) {
	long differs = 0, wrong = 0;
	for (int i = 0; i < 200; i++) {
		struct timespec a, b;
		struct timeval day;
		unsigned cpu;
		clock_gettime(CLOCK_MONOTONIC, &a);
		raw3(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&b, 0);
		if (b.tv_sec - a.tv_sec > 1) differs++;
		gettimeofday(&day, NULL);
		if (time(NULL) - day.tv_sec > 1) differs++;
		if (getcpu(&cpu, NULL)) wrong++;
		if (clock_getres(CLOCK_MONOTONIC, &a) || a.tv_nsec != 1) wrong++;
		errno = 0;
		if (clock_gettime(12345, &a) != -1 || errno != EINVAL) wrong++;
	}
	SAY("differs %ld, wrong %ld\n", differs, wrong);
	/* What asks for the size of its state uses what it is told; the others get their bytes. */
	long (*random)(void *, size_t, unsigned, void *, size_t) = function("__vdso_getrandom");
	unsigned char bytes[64] = {0}, size[64];
	int zeros = 0;
	if (random && random(NULL, 0, 0, size, ~0UL) != -ENOSYS && random(bytes, 0, 0, NULL, 0) < 0) SAY("no bytes\n");
	if (random && random(bytes, sizeof bytes, 0, NULL, 0) == sizeof bytes) {
		for (unsigned i = 0; i < sizeof bytes; i++) zeros += !bytes[i];
		SAY("%s\n", zeros < 16 ? "" : "not random");
	}
	return 0;
}
