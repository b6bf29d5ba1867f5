#!/bin/bash
# postgres as a user of its own: initdb, start, pgbench with several clients, a crash of one backend, stop.
# needs: initdb postgresql
# needs: pgbench postgresql
# needs: setpriv util-linux
# patches: initdb postgres pgbench
# alone: none
# timeout: 120
exec 2>&1
as() { setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"; }
mkdir data; chown 65534:65534 data . ; chmod 700 data
as initdb -D data -A trust -U nobody --no-sync --locale=C.UTF-8 > initdb.log; echo "initdb $?"; grep -c '^Success' initdb.log
as postgres -D data -k $PWD -c listen_addresses= -c fsync=off -c max_connections=20 -c shared_buffers=16MB > server.log 2>&1 & server=$!
trap 'kill -QUIT $(head -1 data/postmaster.pid 2>/dev/null) $server 2>/dev/null; wait' EXIT
trap 'exit 1' TERM
sql() { as psql -X -q -A -t -h $PWD -U nobody postgres "$@"; }
for i in $(seq 600); do as pg_isready -q -h $PWD && break; sleep 0.1; done
sql -c 'select 6*7'; sql -c "create table t as select x, md5(x::text) from generate_series(1, 20000) x; create index on t(md5); select count(*), max(md5) from t"
as pgbench -q -i -h $PWD -U nobody postgres > /dev/null 2>&1; echo "init $?"
as pgbench -h $PWD -U nobody -c 4 -j 2 -t 100 postgres 2>&1 | grep -E 'actually|failed'
sql -c 'set max_parallel_workers_per_gather=2; set parallel_setup_cost=0; set parallel_tuple_cost=0; set min_parallel_table_scan_size=0; select sum(abalance) is not null from pgbench_accounts'
sql -c "select pg_sleep(100)" > slept 2>&1 & sleeper=$!
for i in $(seq 600); do [ "$(sql -c "select count(*) from pg_stat_activity where query like 'select pg_sleep%'")" = 1 ] && break; sleep 0.1; done
sql -c "select pg_cancel_backend(pid) from pg_stat_activity where query like 'select pg_sleep%'"; wait $sleeper; echo $?; cat slept
sql -c 'vacuum full' -c checkpoint -c 'select nonsense'; echo $?
as pg_ctl -D data stop -m fast -s; wait $server; echo "server $?"; grep -cE 'PANIC|terminated by signal' server.log
true
