#!/bin/bash
# Many small programs of every distribution, and how they fail.
# patches: /bin/cat sort dd tee
set -u
exec 2>&1
seq 1 2000 > numbers
sort -rn numbers | head -5
sort -R --random-source=numbers numbers | md5sum
sort -k1,1 --parallel=2 -S 1M numbers | sha256sum
wc numbers; tail -c 10 numbers; cut -c1 numbers | uniq -c | head -3
tr 0-9 a-j < numbers | tail -1; tac numbers | head -2; nl numbers | tail -1; od -c numbers | head -2
split -l 500 numbers part; ls part*; cat part* | cmp - numbers && echo same; paste partaa partab | head -2
join <(seq 1 5) <(seq 3 7); comm -12 <(seq 1 5) <(seq 3 7); expand -t4 <<< $'a\tb'; fold -w 3 <<< abcdefgh
dd if=numbers of=copy bs=1 count=4000 status=none; cksum copy; truncate -s 100 copy; stat -c '%s %a %F' copy
dd if=/dev/zero bs=64k count=20 status=none | tee >(sha1sum > tee.sum) | b2sum; until [ -s tee.sum ]; do sleep 0.01; done; cat tee.sum
cp -a numbers other; mv other moved; ln -s moved link; ln moved hard; readlink link; stat -c %h hard; rm hard
mkdir -p a/b/c; rmdir a/b/c; touch -d '2001-02-03 04:05:06 UTC' moved; stat -c %y moved; date -u -d @1000000000
chmod 640 moved; stat -c %A moved; chown 12:34 moved; stat -c '%u %g' moved; du -b numbers; df --output=target / | tail -1
install -m 700 numbers installed; stat -c %a installed; mktemp -u XXXX | wc -c; realpath -m x/../y | grep -c y; basename /a/b.c .c
env -i A=1 env; printenv LC_ALL; id -u; whoami; nproc | wc -l; uname -s; expr 6 \* 7; factor 1234567890; numfmt --to=iec 123456
timeout 0.1 sleep 5; echo "timeout $?"; timeout -s KILL 0.1 sleep 5; echo "killed $?"; nice -n 5 nice; nohup echo nohup < /dev/null
yes | head -100000 | md5sum; seq 100000 | shuf --random-source=numbers 2>/dev/null | wc -l
mkfifo fifo; (cat fifo > from_fifo &) ; echo through > fifo; until [ -s from_fifo ]; do sleep 0.01; done; cat from_fifo
cat /nonexistent; echo $?; ls /nonexistent; echo $?; rm a; echo $?; cat /proc/self/mem > /dev/null; echo $?; test -e numbers; echo $?
base64 numbers | md5sum; base32 <<< hi; stty -a < /dev/null; echo $?; tty; pathchk -p 'a b'; seq 5 | xargs -n2 echo; seq 6 | xargs -P3 -n1 | sort
kill -l 9; (kill -TERM $BASHPID); echo $?; cat numbers > /dev/full; echo $?; sync numbers; echo done
