// Jumps of every kind that compilers make: tables, computed gotos, loops, parts moved to cold sections.
extern int out(int);
__attribute__((noinline, cold)) void rare(int n) { out(-n); }
static volatile int sink;

int dense(int n, int m)
{
    switch (n) {
    case 0: out(m); return 5;
    case 1: sink = m * 3; break;
    case 2: out(m + 1); break;
    case 3: sink = m - 7; // falls through
    case 4: return out(m ^ 5);
    case 5: m = out(m); break;
    case 6: m += sink; break;
    case 7: if (m < 0) { rare(m); __builtin_abort(); } break;
    default: rare(n); return -1;
    }
    return m + n;
}

int many(int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++) {
        switch (out(i)) {
        case 10: sum += 1; break;
        case 11: sum ^= 9; out(sum); break;
        case 12: sum *= 3; break;
        case 13: sum -= 4; out(2); break;
        case 14: sum |= 8; break;
        case 15: if (__builtin_expect(sum > 100, 0)) { rare(sum); sum = 0; } break;
        case 16: return sum;
        }
        if (__builtin_expect(sum == 77, 0)) rare(i);
    }
    return sum;
}

int threaded(const unsigned char *program)
{
    static const void *const labels[] = { &&push, &&add, &&print, &&stop };
    int stack[64], top = 0;
    goto *labels[*program++];
push:
    stack[top++] = *program++;
    goto *labels[*program++];
add:
    top--;
    stack[top - 1] += stack[top];
    goto *labels[*program++];
print:
    out(stack[top - 1]);
    goto *labels[*program++];
stop:
    return top;
}

int relative(const unsigned char *program)
{
    static const int labels[] = { &&more - &&more, &&less - &&more, &&stop - &&more };
    int n = 0;
    goto *(&&more + labels[*program++]);
more:
    n += out(n);
    goto *(&&more + labels[*program++]);
less:
    n -= out(3);
    goto *(&&more + labels[*program++]);
stop:
    return n;
}

int tail(int (**table)(int), int n)
{
    if (out(n) > 5) return -1;
    return table[n & 3](n);
}

long counts(long n)
{
    long sum = 0;
    while (n > 0) { sum += n & 1; n >>= 1; if (sum == 40) sum += out(3); }
    return sum;
}

int out(int n) { return sink += n; }

int main(int argc, char **argv)
{
    static int (*table[4])(int) = { out, out, many, out };
    (void)argv;
    return dense(argc, 1) + many(argc) + threaded((const unsigned char *)"\0\1\3")
        + relative((const unsigned char *)"\0\2") + tail(table, argc) + (int)counts(argc);
}
