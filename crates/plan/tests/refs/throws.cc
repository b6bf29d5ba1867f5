// Exceptions: landing pads in hot and cold parts.
#include <stdexcept>
#include <string>
struct Guard {
    int *n;
    ~Guard() { ++*n; }
};
__attribute__((noinline)) int risky(int n)
{
    if (n > 3) throw std::runtime_error("n");
    if (n < -3) throw n;
    return n;
}
__attribute__((noinline)) int catches(int n)
{
    int count = 0;
    try {
        Guard guard{&count};
        count += risky(n);
        std::string text(n & 3, 'x');
        count += risky(n - 1) + (int)text.size();
    } catch (const std::runtime_error &) {
        count += 10;
    } catch (int m) {
        count += m;
    }
    return count;
}
__attribute__((noinline)) int nested(int n)
{
    int count = 0;
    for (int i = 0; i < n; i++) {
        Guard outer{&count};
        try {
            Guard inner{&count};
            risky(i);
        } catch (...) {
            if (i == 5) throw;
        }
    }
    return count;
}
int main(int argc, char **)
{
    return catches(argc) + nested(argc);
}
