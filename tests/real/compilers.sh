#!/bin/bash
# gcc, g++, clang, as, ld, ld.gold, ld.lld, ar, objdump, make: compile, link, run what came out.
# needs: gcc gcc
# needs: clang clang
# needs: ld.lld lld
# needs: make make
# patches: cc1 collect2 ld.lld clang make
# timeout: 60
exec 2>&1
cat > a.c <<'C'
#include <stdio.h>
#include <math.h>
int twice(int);
int main(int n, char **v) { printf("%d %.3f %s\n", twice(21), sqrt(n + 1.0), v[1]); return 4; }
C
echo 'int twice(int x) { return 2 * x; }' > b.c
cat > c.cc <<'C'
#include <iostream>
#include <map>
#include <string>
#include <thread>
int main() { std::map<std::string, int> m; std::thread t([&] { for (int i = 0; i < 100; i++) m[std::to_string(i % 7)]++; }); t.join(); for (auto &[k, v] : m) std::cout << k << v << ' '; std::cout << '\n'; try { throw 5; } catch (int i) { return i; } }
C
gcc -O2 -c a.c b.c && ar rc libb.a b.o && gcc a.o -L. -lb -lm -o a && ./a x; echo $?
gcc -O2 -flto a.c b.c -lm -o a2 && ./a2 y; echo $?
g++ -O1 -std=c++17 c.cc -pthread -o c && ./c; echo $?
clang -O2 -fuse-ld=lld a.c b.c -lm -o d && ./d z; echo $?
gcc -static a.c b.c -lm -o s && ./s static; echo $?
gcc -shared -fPIC b.c -o libc2.so && gcc a.c -L. -lc2 -lm -Wl,-rpath,$PWD -fuse-ld=gold -o e && ./e w; echo $?
gcc -c nonexistent.c; echo $?; echo 'int main( {' > bad.c; gcc bad.c | head -2; nm a.o; objdump -d b.o | grep -c ret; strip a; size a.o; readelf -h a | grep Type
printf 'all: x y z\n%%: ; @echo made $@; sleep 0.02\n' > Makefile; make -s -j3 | sort; sha256sum a.o b.o | cut -c1-64
