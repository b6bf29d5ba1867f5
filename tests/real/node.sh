#!/bin/bash
# node: a server and clients, worker threads, child processes, timers, files.
# needs: node nodejs
# patches: node
# timeout: 60
exec 2>&1
cat > a.js <<'J'
const http = require('http'), fs = require('fs'), cp = require('child_process'), os = require('os');
const { Worker, isMainThread, parentPort } = require('worker_threads');
if (!isMainThread) { let s = 0; for (let i = 0; i < 1e6; i++) s += i % 7; parentPort.postMessage(s); return; }
(async () => {
  const workers = await Promise.all([1, 2, 3].map(() => new Promise(r => new Worker(__filename).on('message', r))));
  console.log(workers.join());
  const server = http.createServer((q, s) => s.end(q.url.toUpperCase())).listen(0, '127.0.0.1');
  await new Promise(r => server.on('listening', r));
  const get = u => new Promise(r => http.get({ port: server.address().port, host: '127.0.0.1', path: u, agent: false }, s => { let d = ''; s.on('data', x => d += x).on('end', () => r(d)); }));
  console.log((await Promise.all([...Array(30).keys()].map(i => get('/p' + i)))).join());
  server.close();
  fs.writeFileSync('f', 'x'.repeat(1e6)); console.log((await fs.promises.stat('f')).size, require('crypto').createHash('sha256').update(fs.readFileSync('f')).digest('hex'));
  console.log(cp.execSync('echo child; exit 0').toString().trim(), cp.spawnSync('sh', ['-c', 'kill -9 $$']).signal);
  const child = cp.spawn('cat'); child.stdin.end('through cat'); child.stdout.on('data', d => console.log('' + d));
  await new Promise(r => child.on('close', r));
  process.on('SIGUSR2', () => { console.log('signal'); setTimeout(() => process.exit(9), 20); }); process.kill(process.pid, 'SIGUSR2');
  console.log(require('zlib').gzipSync('a'.repeat(1e5)).length > 10, eval('1+1'), new Intl.NumberFormat('en').format(1234567));
})();
J
node a.js; echo $?; node -e 'process.abort()' > /dev/null 2>&1; echo $?; node -e 'throw 1' > /dev/null 2>&1; echo $?
