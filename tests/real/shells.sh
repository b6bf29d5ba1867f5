#!/bin/bash
# bash and dash: jobs, traps, pipes, here-documents, subshells, signals.
# needs: dash dash
# patches: bash dash
exec 2>&1
cat > both <<'S'
trap 'echo got USR1' USR1
trap 'echo leaving' EXIT
kill -USR1 $$
i=0; while [ $i -lt 300 ]; do i=$((i+1)); x=$(echo $i); done; echo $x
(exit 3); echo $?
sh -c 'kill -9 $$'; echo $?
sh -c 'kill -SEGV $$'; echo $?
for f in 1 2 3; do echo $f; done | while read l; do echo "<$l>"; done
sleep 0.05 & wait $!; echo waited $?
sleep 5 & p=$!; sleep 0.1; kill $p; wait $p 2>/dev/null; echo killed $?
cat <<X | tr a-z A-Z
here
X
(trap 'echo child trap; exit 4' TERM; kill -TERM $(sh -c 'echo $PPID'); sleep 1) ; echo $?
{ echo a; echo b >&2; } 2>&1 | cat
exec 5>file; echo five >&5; exec 5>&-; cat file
ulimit -n 64; ulimit -n
umask 077; umask; cd /; pwd; cd - > /dev/null
read line < file; echo $line
nonexistent_command; echo $?
/; echo $?
f() { return 7; }; f; echo $?
S
for shell in bash dash; do $shell both; echo "$shell $?"; done
bash -c 'shopt -s lastpipe; set -m; coproc C { cat; }; echo hi >&${C[1]}; read -u ${C[0]} l; echo $l; eval "exec ${C[1]}>&-"; wait; mapfile -t m < <(seq 3); echo ${m[*]}; [[ abc =~ b ]] && echo yes; echo $((2**40)); printf "%(%Y)T\n" 0; read -t 0.05 x < <(sleep 30); echo $? | sed "s/1../timeout/"; time_is=$SECONDS; exec -a name bash -c "echo \$0"'
bash -c 'for i in {1..50}; do (exit $i) & a+=($!); done; n=0; for p in ${a[@]}; do wait $p; n=$((n+$?)); done; echo $n'
busybox sh -c 'echo busybox; for i in 1 2 3; do (echo $i); done' | cat
