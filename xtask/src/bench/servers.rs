//! Servers, with their own clients as the load: the server alone is hooked.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Bench;

/// A server, and what asks it.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    start: &'static str,
    client: &'static str,
    /// What stands before the number of requests in a second in what the client prints.
    before: &'static str,
}

/// `exec`, so that the process that we end is the server.
const REDIS: &str = "exec redis-server --port 7391 --save '' --appendonly no --daemonize no";
const NGINX: &str = "exec nginx -p $PWD/nginx -c nginx.conf -e error.log";

/// All that are known.
pub(crate) const ALL: [Server; 5] = [
    Server {
        name: "redis GET",
        start: REDIS,
        client: "redis-benchmark -p 7391 -q -n 60000 -t get --csv",
        before: "\"GET\",\"",
    },
    Server {
        name: "redis SET",
        start: REDIS,
        client: "redis-benchmark -p 7391 -q -n 60000 -t set --csv",
        before: "\"SET\",\"",
    },
    Server {
        name: "nginx, 0 bytes",
        start: NGINX,
        client: "wrk -t1 -c16 -d2s http://127.0.0.1:7391/empty",
        before: "Requests/sec:",
    },
    Server {
        name: "nginx, 4 kB",
        start: NGINX,
        client: "wrk -t1 -c16 -d2s http://127.0.0.1:7391/page",
        before: "Requests/sec:",
    },
    Server {
        name: "postgres, pgbench -S",
        start: POSTGRES,
        client: "pgbench -h 127.0.0.1 -p 7391 -U nobody -S -c 4 -T 2 postgres",
        before: "tps = ",
    },
];

/// As a user of its own: it refuses to be root. Its data lies where that one can go, and is made before it listens.
const POSTGRES: &str = "PATH=$PATH:$(echo /usr/lib/postgresql/*/bin); data=$(mktemp -d) && trap 'rm -rf $data' EXIT
    as='setpriv --reuid=65534 --regid=65534 --clear-groups --'
    cd / && chown 65534:65534 $data && $as initdb -D $data/db -A trust -U nobody --no-sync --locale=C.UTF-8 || exit
    $as pg_ctl -D $data/db -s -w -o \"-k $data -c listen_addresses= -c fsync=off\" start &&
    pgbench -q -i -h $data -U nobody postgres && $as pg_ctl -D $data/db -s -m fast stop || exit
    $as postgres -D $data/db -k $data -c listen_addresses=127.0.0.1 -p 7391 -c fsync=off & server=$!
    trap 'kill -INT $server; wait $server' TERM; wait $server";

const CONFIG: &str = "daemon off; worker_processes 1; pid nginx.pid; error_log error.log;
events { worker_connections 256; }
http { access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  server { listen 127.0.0.1:7391; root html; } }
";

impl Server {
    /// Requests in a second, native and hooked.
    pub(crate) fn measure(&self, bench: &Bench, rounds: usize) -> anyhow::Result<Vec<(f64, f64)>> {
        let html = bench.dir.join("nginx/html");
        fs::create_dir_all(&html)?;
        fs::write(html.join("empty"), "")?;
        fs::write(html.join("page"), vec![b'x'; 4096])?;
        fs::write(bench.dir.join("nginx/nginx.conf"), CONFIG)?;
        let mut pairs = Vec::new();
        for _ in 0..rounds.min(6) {
            pairs.push((self.once(bench, false)?, self.once(bench, true)?));
        }
        Ok(pairs)
    }

    fn once(&self, bench: &Bench, hooked: bool) -> anyhow::Result<f64> {
        let mut server = Running(bench.shell(self.start, hooked).spawn()?);
        let begin = Instant::now();
        while TcpStream::connect("127.0.0.1:7391").is_err() {
            if let Some(status) = server.0.try_wait()? {
                bail!("the server ended: {status}");
            }
            if begin.elapsed() > Duration::from_secs(20) {
                bail!("the server does not listen");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut words = self.client.split(' ');
        let output = Command::new(words.next().unwrap_or_default())
            .args(words)
            .stdin(Stdio::null())
            .output()
            .context(self.client)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = text.split(self.before).nth(1).map(str::trim_start);
        let number = number.and_then(|rest| rest.split(['"', ' ', '\n']).next()?.parse().ok());
        number.with_context(|| format!("{}: {text}", self.client))
    }
}

/// Ended with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        // As its administrator would: nginx ends its workers then.
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let begin = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) {
            if begin.elapsed() > Duration::from_secs(10) {
                let _ = self.0.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
