#!/bin/bash
# nginx with two workers under load, a reload in the middle, a graceful stop.
# needs: nginx nginx
# needs: wrk wrk
# needs: ab apache2-utils
# needs: curl curl
# needs: pgrep procps
# patches: nginx wrk curl
# timeout: 60
exec 2>&1
mkdir -p logs root; seq 1000 > root/file; echo hello > root/index.html
port=$(/usr/bin/perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1)->sockport')
cat > nginx.conf <<C
daemon off; worker_processes 2; pid $PWD/pid; error_log $PWD/logs/error.log; user root;
events { worker_connections 256; }
http { access_log $PWD/logs/access.log; client_body_temp_path $PWD/t1; proxy_temp_path $PWD/t2; fastcgi_temp_path $PWD/t3; uwsgi_temp_path $PWD/t4; scgi_temp_path $PWD/t5;
 sendfile on; aio threads; gzip on; gzip_types text/plain; server { listen 127.0.0.1:$port reuseport; root $PWD/root; location /proxy/ { proxy_pass http://127.0.0.1:$port/; } } }
C
nginx -p $PWD -c nginx.conf -t -q; echo $?
nginx -p $PWD -c nginx.conf & server=$!
trap 'kill -9 $(cat pid 2>/dev/null) $server 2>/dev/null' EXIT
trap 'exit 1' TERM
for i in $(seq 600); do curl -s -o /dev/null http://127.0.0.1:$port/ && break; sleep 0.05; done
curl -s http://127.0.0.1:$port/; curl -s http://127.0.0.1:$port/file | md5sum; curl -s --compressed http://127.0.0.1:$port/proxy/file | md5sum; curl -s -o /dev/null -w '%{http_code}\n' http://127.0.0.1:$port/missing
wrk -t2 -c20 -d1s http://127.0.0.1:$port/file | grep -E 'errors|Non-2xx'
ab -q -n 2000 -c 10 -k http://127.0.0.1:$port/index.html | grep -E 'Complete|Failed|Non-2xx'
workers() { pgrep -P $server | sort; }; old=$(workers); kill -HUP $server
# until none of the old workers is left
for i in $(seq 600); do now=$(workers); [ -n "$now" ] && [ -z "$(comm -12 <(echo "$old") <(echo "$now"))" ] && break; sleep 0.05; done; curl -s http://127.0.0.1:$port/proxy/index.html
ab -q -n 500 -c 10 http://127.0.0.1:$port/proxy/file | grep -E 'Complete|Failed|Non-2xx'
kill -QUIT $server; wait $server; echo "server $?"; grep -ciE 'alert|crit|emerg' logs/error.log
true
