#!/bin/bash
# redis-server under redis-benchmark, with a background save and an append-only file.
# needs: redis-server redis-server
# needs: redis-benchmark redis-tools
# patches: redis-server redis-benchmark
# timeout: 60
exec 2>&1
redis-server --port 0 --unixsocket $PWD/sock --dir $PWD --appendonly yes --save '' --io-threads 2 --enable-debug-command local --daemonize no > server.log 2>&1 &
server=$!
trap 'kill -9 $server 2>/dev/null' EXIT
trap 'exit 1' TERM
cli() { redis-cli -s $PWD/sock "$@"; }
for i in $(seq 1200); do [ "$(cli ping 2>/dev/null)" = PONG ] && break; sleep 0.05; done
redis-benchmark -s $PWD/sock -n 5000 -c 20 -q -P 4 -t set,get,incr,lpush,mset | tr '\r' '\n' | grep -oE '^[A-Z]+.*: [0-9.]+ requests' | sed 's/[0-9.]* requests//' | sort -u
cli set a 1; cli incr a; cli get a; cli llen mylist; cli eval 'return redis.call("get", "a")' 0; cli bgsave | cut -c1-10; cli debug sleep 0.1; cli dbsize
settled() { for i in $(seq 1200); do cli info persistence | grep -qE '(bgsave_in_progress|rewrite_in_progress|rewrite_scheduled):1' || break; sleep 0.05; done; }
settled; cli bgrewriteaof | cut -c1-10; settled
cli shutdown nosave; wait $server; echo "server $?"; ls; grep -ciE 'crash|bug report' server.log
true
