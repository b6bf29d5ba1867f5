// build: gcc -O1
// hook: hosted_after hosted_threads
// patched: x87_states 1
// Every state that the x87 unit can be in is as it was behind a call: registers in use, MMX, holes in its stack, flags.
#include "guest.h"

static unsigned char before[512] __attribute__((aligned(16))), after[512] __attribute__((aligned(16)));
static const unsigned short rounding = 0x0a7f;
static double tiny = 1e-300;
static unsigned long word = 0x0123456789abcdef;

/* Of registers that are not in use nothing is expected. */
static int differs(void) {
	if (memcmp(before, after, 5)) return 1;
	int top = before[3] >> 3 & 7;
	for (int i = 0; i < 8; i++)
		if (before[4] >> ((i + top) & 7) & 1 && memcmp(before + 32 + 16 * i, after + 32 + 16 * i, 10)) return 2 + i;
	return 0;
}

#define STATE(name, code)                                                                          \
	static void name(void) {                                                                   \
		long result;                                                                       \
		__asm__ volatile("fninit\n" code "\nfxsave64 %1\n mov $110, %%eax\n syscall\n fxsave64 %2\n fninit" \
				 : "=&a"(result), "=m"(before), "=m"(after)                        \
				 : "m"(rounding), "m"(tiny), "m"(word)                             \
				 : "rcx", "r11", "memory");                                        \
		SAY("%s: %x %x, differs %d\n", #name, *(unsigned *)before, before[4], differs());  \
	}
STATE(none, "")
STATE(one, "fldpi")
STATE(three, "fldpi\n fldl2e\n fld1")
STATE(eight, "fldpi\n fldl2e\n fld1\n fldz\n fldln2\n fldlg2\n fldpi\n fldl2t")
STATE(nine, "fldpi\n fldl2e\n fld1\n fldz\n fldln2\n fldlg2\n fldpi\n fldl2t\n fld1")
STATE(mmx, "movq %5, %%mm0\n movq %%mm0, %%mm1\n pcmpeqd %%mm5, %%mm5")
STATE(mmx_over, "movq %5, %%mm0\n movq %%mm0, %%mm1\n emms")
STATE(rounded, "fldcw %3")
STATE(round_one, "fldcw %3\n fldpi")
STATE(flags, "fldl %4\n fmul %%st(0), %%st(0)\n fstp %%st(0)")
STATE(compared, "fld1\n fldz\n fucompp")
STATE(examined, "fxam")
STATE(around, "fldpi\n fincstp")
STATE(freed, "fldpi\n fldl2e\n ffree %%st(0)")
STATE(emptied, "fldpi\n ffree %%st(0)\n fincstp")
STATE(top, "fdecstp\n fdecstp")

int main(void) {
	for (int i = 0; i < 2; i++) {
		none(), one(), three(), eight(), nine(), mmx(), mmx_over(), rounded(), round_one();
		flags(), compared(), examined(), around(), freed(), emptied(), top();
	}
	return 0;
}
