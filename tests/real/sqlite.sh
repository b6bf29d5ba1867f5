#!/bin/bash
# sqlite3 on a file: transactions, an index, a write-ahead log, two writers at once.
# needs: sqlite3 sqlite3
# patches: sqlite3
exec 2>&1
sqlite3 db 'create table t(a integer primary key, b text); with recursive c(x) as (select 1 union all select x+1 from c where x<20000) insert into t select x, hex(x*x) from c; create index i on t(b); select count(*), sum(length(b)) from t;'
sqlite3 db 'pragma journal_mode=wal;'
for w in 1 2 3; do (for i in $(seq 20); do sqlite3 -cmd '.timeout 20000' db "insert into t(b) values('w$w-$i')"; done) & done; wait
sqlite3 db 'select count(*) from t; pragma integrity_check; vacuum; select max(b) from t;'
sqlite3 db '.dump' | sed 's/w[123]-//' | sort | md5sum | wc -c; sqlite3 db 'select nonsense'; echo $?
