#!/bin/bash
# ssh-keygen and openssl: keys, signatures, speed.
# needs: ssh-keygen openssh-client
# needs: openssl openssl
# patches: ssh-keygen openssl
# timeout: 60
exec 2>&1
ssh-keygen -q -t ed25519 -N '' -C x -f k; ls; ssh-keygen -l -f k.pub | cut -c1-11; ssh-keygen -y -f k | cmp - <(cut -d' ' -f1-3 k.pub) && echo same
echo text > t; ssh-keygen -q -Y sign -f k -n file t; echo "x $(cat k.pub)" > allowed; ssh-keygen -Y verify -f allowed -I x -n file -s t.sig < t | cut -c1-20; ssh-keygen -f nonexistent -l; echo $?
openssl version | cut -c1-9; openssl speed -seconds 1 -bytes 1024 sha256 2>&1 | grep -c '^sha256'; openssl speed -seconds 1 -multi 2 -bytes 64 -evp aes-128-gcm 2>/dev/null | grep -c -i aes
openssl genpkey -algorithm ED25519 -out p 2>&1; openssl pkey -in p -pubout -out pub; openssl dgst -sha256 t; openssl enc -aes-256-cbc -pbkdf2 -k pass -in t | openssl enc -d -aes-256-cbc -pbkdf2 -k pass; openssl req -x509 -new -key p -subj /CN=x -days 1 -out cert; openssl verify -CAfile cert cert; openssl nonsense > /dev/null 2>&1; echo $?
