#!/bin/bash
# tar, gzip, xz, bzip2, find, grep, sed, awk, rsync-like copies.
# needs: xz xz-utils
# needs: bzip2 bzip2
# patches: tar gzip xz find
exec 2>&1
mkdir tree; for i in $(seq 40); do mkdir -p tree/d$i/e; seq $((i * 50)) > tree/d$i/f; ln -s ../f tree/d$i/e/l; done
find tree -newermt 2030-01-01; touch -d @1000000000 $(find tree) ; find tree -type f | sort | md5sum; find tree -type l | wc -l; find tree -size +1k -exec wc -c {} + | tail -1
find tree -name f -exec sh -c 'exit 0' \; -print | wc -l; find tree -delete -name nothing; find tree | wc -l
mkdir tree; for i in $(seq 40); do mkdir -p tree/d$i; seq $((i * 50)) > tree/d$i/f; done; touch -d @1000000000 $(find tree)
for z in '' z J j; do tar c${z}f t.tar$z --sort=name --owner=0 --group=0 tree; tar tf t.tar$z | md5sum; mkdir out; tar xf t.tar$z -C out; diff -r tree out/tree && echo same; rm -r out; done
tar xf nonexistent.tar; echo $?; sha256sum t.tar; gzip -k9n t.tar; gzip -l t.tar.gz | tail -1 | awk '{print $2}'; gzip -dc t.tar.gz | cmp - t.tar; xz -T2 -k t.tar; xz -t t.tar.xz; echo $?
head -c 3000000 /dev/zero | xz -6 | xz -d | md5sum; head -c 1000 t.tar.gz | gzip -dc > /dev/null; echo $?
grep -r 1999 tree | wc -l; sed -n '/^5.$/p' tree/d9/f; sed -i s/1/one/ tree/d1/f; head -2 tree/d1/f; awk '{s += $1} END {print s}' tree/d40/f; diff tree/d1/f tree/d2/f | wc -l
