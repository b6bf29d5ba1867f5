//! What is run under strace and a hook.

/// The programs: each does other calls, some in threads and children.
pub const COMMANDS: [(&str, &str); 28] = [
    ("true", "/bin/true"),
    ("ls", "/bin/ls -l /usr /nonexistent"),
    // A library with system calls of its own, opened late and more than once; code that the program generates.
    (
        "dlopen",
        "printf 'long f(long n){long r;__asm__ volatile(\"syscall\":\"=a\"(r):\"a\"(n):\"rcx\",\"r11\",\"memory\");return r;}' | /usr/bin/gcc -shared -fPIC -O1 -x c -o f.so - && /usr/bin/python3 -S -c 'import ctypes,_ctypes; [(lambda l: ([l.f(39) for _ in range(3)], l.f(110), _ctypes.dlclose(l._handle)))(ctypes.CDLL(\"./f.so\")) for _ in range(3)]'",
    ),
    (
        "generated",
        "/usr/bin/python3 -S -c 'import ctypes; c=ctypes.CDLL(None); c.mmap.restype=ctypes.c_void_p; p=c.mmap(0,4096,3,34,-1,0); ctypes.memmove(p,b\"\\xb8\\x6e\\x00\\x00\\x00\\x0f\\x05\\xc3\",8); c.mprotect(ctypes.c_void_p(p),4096,5); f=ctypes.CFUNCTYPE(ctypes.c_long)(p); f(); f()'",
    ),
    // The same in memory that stays writable: in the thread that made it, in others, in a child, with all signals blocked.
    (
        "written",
        "/usr/bin/python3 -S -c 'import ctypes,os,threading,signal; c=ctypes.CDLL(None); c.mmap.restype=ctypes.c_void_p; p=c.mmap(0,4096,7,34,-1,0); ctypes.memmove(p,b\"\\xb8\\x6e\\x00\\x00\\x00\\x0f\\x05\\xc3\",8); f=ctypes.CFUNCTYPE(ctypes.c_long)(p); f(); f(); t=[threading.Thread(target=f) for _ in range(4)]; [x.start() for x in t]; [x.join() for x in t]; signal.pthread_sigmask(signal.SIG_BLOCK,range(1,32)); f(); pid=os.fork(); f(); pid or os._exit(f()&1); os.waitpid(pid,0); f()'",
    ),
    (
        "coreutils",
        "/bin/cp -a /etc/fstab a; /bin/dd if=/dev/zero bs=64k count=3 | /usr/bin/sort --parallel=2 | /usr/bin/tee b | /usr/bin/b2sum; /usr/bin/timeout 0.05 /bin/sleep 9; /usr/bin/seq 9 | /usr/bin/xargs -P3 -n1 /bin/echo",
    ),
    (
        "bash",
        "/bin/bash -c 'echo $(/bin/echo a; (exit 3)) | /bin/cat; /bin/sleep 0.01 & wait'",
    ),
    (
        "bash_traps",
        "/bin/bash -c 'trap \"echo trapped\" USR1; for i in 1 2 3; do kill -USR1 $$; done; (kill -TERM $BASHPID); coproc cat; echo hi >&${COPROC[1]}; read -u ${COPROC[0]} l; echo $l'",
    ),
    (
        "dash",
        "/bin/dash -c 'cd /; for i in 1 2; do /bin/true; done; kill -TERM $$'",
    ),
    (
        "tar",
        "/bin/tar cf - /etc/passwd /etc/group | /bin/tar tf -",
    ),
    (
        "gzip",
        "/bin/gzip -9 -c /etc/services | /bin/gzip -dc | /usr/bin/wc -c",
    ),
    (
        "find",
        "/usr/bin/find /etc/apt -type f -exec /bin/true {} +",
    ),
    (
        "perl",
        "/usr/bin/perl -e 'print `/bin/echo x`; kill 0, $$; open F, \"</nonexistent\"; print -s \"/etc/passwd\"'",
    ),
    (
        "python",
        "/usr/bin/python3 -S -c 'import threading,os; t=[threading.Thread(target=os.stat,args=(\"/\",)) for _ in range(4)]; [x.start() for x in t]; [x.join() for x in t]; os.waitpid(os.posix_spawn(\"/bin/true\",[\"true\"],{}),0)'",
    ),
    (
        "python_signals",
        "/usr/bin/python3 -S -c 'import signal,time; n=[]; signal.signal(signal.SIGALRM, lambda *a: n.append(1)); signal.setitimer(signal.ITIMER_REAL,.001,.001)\nwhile len(n)<20: time.sleep(9)\nsignal.setitimer(signal.ITIMER_REAL,0)'",
    ),
    (
        "sqlite",
        "/usr/bin/sqlite3 file.db 'create table t(x); insert into t values(1); select * from t'",
    ),
    ("git", "/usr/bin/git init -q repository"),
    (
        "git_clone",
        "/usr/bin/git init -q a; cd a; echo x > x; /usr/bin/git add x; /usr/bin/git -c user.name=a -c user.email=b commit -qm x; cd ..; /usr/bin/git clone -q --no-local a b; /usr/bin/git -C b gc -q; /usr/bin/git -C b log",
    ),
    (
        "xz",
        "/usr/bin/xz -T2 -c /etc/services | /usr/bin/xz -dc | /usr/bin/sha1sum",
    ),
    ("openssl", "/usr/bin/openssl rand -hex 8 -out random"),
    (
        "openssl_speed",
        "/usr/bin/openssl speed -seconds 1 -multi 2 -bytes 64 sha256",
    ),
    (
        "ssh_keygen",
        "/usr/bin/ssh-keygen -q -t ed25519 -N '' -C x -f k; /usr/bin/ssh-keygen -lf k",
    ),
    (
        "gcc",
        "echo 'int main() { return 3; }' > a.c; /usr/bin/gcc -pipe a.c -o a; ./a",
    ),
    (
        "gdb",
        "/usr/bin/gdb -nx -q -batch -ex 'info line main' /bin/true",
    ),
    (
        "redis",
        "/usr/bin/redis-server --port 0 --unixsocket ./s --save '' --daemonize no > said & until /usr/bin/redis-cli -s ./s ping; do /bin/sleep 0.05; done; /usr/bin/redis-benchmark -s ./s -n 200 -c 4 -q -t set,get; /usr/bin/redis-cli -s ./s bgsave; /usr/bin/redis-cli -s ./s shutdown nosave; wait",
    ),
    (
        "nginx",
        "printf 'daemon off; worker_processes 2; pid ./pid; error_log ./e; user root; events {} http { access_log off; server { listen unix:%s/s; root /; } }' $PWD > c; /usr/sbin/nginx -p $PWD -e ./e -c c & until /usr/bin/curl -s --unix-socket s http://x/etc/fstab; do /bin/sleep 0.05; done; kill -QUIT $!; wait",
    ),
    (
        "node",
        "/usr/bin/node -e 'const fs=require(\"fs\"); require(\"child_process\").execSync(\"/bin/true\"); fs.readFile(\"/etc/passwd\",()=>setTimeout(()=>{},5)); new (require(\"worker_threads\").Worker)(\"1\",{eval:true})'",
    ),
    ("java", "/usr/bin/java -Xshare:auto -version"),
];
