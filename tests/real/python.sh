#!/bin/bash
# python3: imports, processes, threads, sockets, files, an event loop.
# needs: python3 python3
# patches: python3
# timeout: 60
exec 2>&1
/usr/bin/python3 - <<'P'
import asyncio, concurrent.futures, ctypes, hashlib, json, mmap, multiprocessing, os, random, re, select, signal, socket, sqlite3, ssl, subprocess, sys, tempfile, threading, time, zlib, decimal, lzma, bz2, uuid, xml.etree.ElementTree
print(hashlib.sha256(b"x" * 100000).hexdigest(), zlib.crc32(b"abc"), len(lzma.compress(b"a" * 1000)))
print([subprocess.run(["sh", "-c", f"exit {i}"]).returncode for i in range(5)])
print(subprocess.run("echo out; echo err >&2; kill -9 $$", shell=True, capture_output=True))
with concurrent.futures.ThreadPoolExecutor(8) as pool: print(sum(pool.map(lambda i: i * i, range(1000))))
def square(i): return i * i
with multiprocessing.get_context("fork").Pool(4) as pool: print(sum(pool.map(square, range(1000))))
async def main():
    server = await asyncio.start_server(lambda r, w: echo(r, w), "127.0.0.1", 0)
    async def echo(r, w):
        while data := await r.read(1000): w.write(data.upper()); await w.drain()
        w.close()
    async def client(i):
        r, w = await asyncio.open_connection(*server.sockets[0].getsockname())
        w.write(b"hello %d" % i); w.write_eof(); data = await r.read(); w.close(); return data
    print(sorted(await asyncio.gather(*(client(i) for i in range(20)))))
    p = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    print(await p.communicate(b"through cat"))
asyncio.run(main())
hits = []
signal.signal(signal.SIGALRM, lambda *a: hits.append(1)); signal.setitimer(signal.ITIMER_REAL, .01, .01)
end = time.monotonic() + 30
while time.monotonic() < end and len(hits) < 10: time.sleep(.05)
signal.setitimer(signal.ITIMER_REAL, 0); print(len(hits) > 5)
r, w = os.pipe(); pid = os.fork()
if pid == 0: os.write(w, b"child"); os._exit(5)
print(os.read(r, 10), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(ctypes.CDLL(None).abs(-5), os.get_terminal_size.__name__, sqlite3.connect(":memory:").execute("select sum(1+1)").fetchone())
m = mmap.mmap(-1, 4096); m[:5] = b"maps!"; print(m[:5])
try: os.kill(os.getpid(), 0); open("/nonexistent")
except OSError as e: print(e)
threads = [threading.Thread(target=lambda: [os.stat(".") for _ in range(200)]) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]; print("threads")
sys.stdout.flush(); os.kill(os.getpid(), signal.SIGTERM)
P
echo $?
/usr/bin/python3 -c 'import faulthandler; faulthandler.enable(); import ctypes; ctypes.string_at(0)' > /dev/null 2>&1; echo $?
