#define _GNU_SOURCE
#include <stdio.h>
#include <poll.h>
#include <sys/select.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <sys/un.h>
#include <signal.h>
#include <unistd.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <sys/prctl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <linux/futex.h>
#include <sys/wait.h>
#include <string.h>
#include <time.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/signalfd.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/mman.h>
#include <linux/openat2.h>
#include <sys/xattr.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <netinet/tcp.h>
#include <sys/timex.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <linux/sched.h>
#include <linux/bpf.h>
#include <sys/shm.h>
#include <sys/sem.h>
#include <sys/msg.h>
#include <utime.h>
#include <linux/memfd.h>
#include <sys/random.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#define S(n,...) syscall(SYS_##n,##__VA_ARGS__)
static void h(int s){}
int main(void){
 int p[2]; pipe(p); int q[2]; pipe2(q,O_CLOEXEC|O_NONBLOCK); pipe((void*)8);
 struct pollfd f[3]={{p[0],POLLIN|POLLPRI,0},{p[1],POLLOUT,0},{-1,0,0}};
 poll(f,3,0); poll(f,1,1); poll(0,0,0); poll((void*)8,2,0);
 struct timespec ts={0,1000}; ppoll(f,2,&ts,0); ppoll(f,1,&ts,0); sigset_t ss; sigemptyset(&ss); sigaddset(&ss,SIGUSR1); sigaddset(&ss,SIGRTMIN+1); ppoll(f,1,&ts,&ss);
 fd_set r,w; FD_ZERO(&r); FD_ZERO(&w); FD_SET(p[0],&r); FD_SET(p[1],&w); struct timeval tv={0,1000};
 S(select,8,&r,&w,0,&tv); FD_SET(p[0],&r); tv.tv_usec=1000; S(select,p[0]+1,&r,0,0,&tv); S(select,8,0,0,0,&tv);
 FD_ZERO(&r);FD_SET(p[0],&r); pselect(8,&r,0,0,&ts,&ss); pselect(0,0,0,0,&ts,0);
 int e=epoll_create1(EPOLL_CLOEXEC); struct epoll_event ev={EPOLLOUT|EPOLLET,{.u64=0x1234567890}}; epoll_ctl(e,EPOLL_CTL_ADD,p[1],&ev); epoll_ctl(e,EPOLL_CTL_MOD,77,&ev); epoll_ctl(e,EPOLL_CTL_DEL,77,0);
 struct epoll_event evs[4]; epoll_wait(e,evs,4,0); epoll_pwait(e,evs,4,0,&ss); epoll_wait(e,evs,0,0); epoll_ctl(e,EPOLL_CTL_DEL,p[1],0); epoll_wait(e,evs,4,0);
 struct iovec iv[3]={{"abc",3},{"0123456789012345678901234567890123456789",40},{0,0}}; writev(p[1],iv,3); writev(p[1],(void*)8,2); writev(p[1],iv,0);
 char b1[10],b2[100]; struct iovec ov[2]={{b1,10},{b2,100}}; readv(p[0],ov,2); readv(-1,ov,2); preadv(p[0],ov,2,5); pwritev(p[1],iv,1,5); preadv2(1000,ov,1,-1,0); pwritev2(1000,iv,1,5,RWF_NOWAIT);
 int s=socket(AF_INET,SOCK_STREAM|SOCK_NONBLOCK,IPPROTO_TCP); int one=1; setsockopt(s,SOL_SOCKET,SO_REUSEADDR,&one,4); setsockopt(s,IPPROTO_TCP,TCP_NODELAY,&one,4); struct linger lg={1,2}; setsockopt(s,SOL_SOCKET,SO_LINGER,&lg,8); tv.tv_sec=3; setsockopt(s,SOL_SOCKET,SO_RCVTIMEO,&tv,16); setsockopt(s,IPPROTO_IP,IP_TTL,&one,1); setsockopt(s,999,5,&one,4); setsockopt(s,SOL_SOCKET,SO_BINDTODEVICE,"lo",3);
 struct sockaddr_in a={AF_INET,htons(0),{htonl(INADDR_LOOPBACK)}}; bind(s,(void*)&a,sizeof a); listen(s,5); socklen_t l=sizeof a; getsockname(s,(void*)&a,&l); l=128; char big[128]; getsockname(s,(void*)big,&l); l=4; getsockopt(s,SOL_SOCKET,SO_TYPE,&one,&l); getsockopt(s,SOL_SOCKET,SO_ERROR,&one,&l); l=8; getsockopt(s,SOL_SOCKET,SO_LINGER,&lg,&l); l=3; getsockopt(s,SOL_SOCKET,SO_SNDBUF,&one,&l);
 int c=socket(AF_INET,SOCK_STREAM,0); connect(c,(void*)&a,16); l=128; int d=accept4(s,(void*)big,&l,SOCK_CLOEXEC); accept(s,0,0); l=128; accept(s,(void*)big,&l); getpeername(d,(void*)big,&l); getpeername(0,(void*)big,&l);
 send(c,"hello",5,MSG_NOSIGNAL); recv(d,b2,100,MSG_PEEK); struct msghdr m={.msg_iov=ov,.msg_iovlen=2}; recvmsg(d,&m,0); recv(d,b2,100,MSG_DONTWAIT); recvmsg(d,&m,MSG_DONTWAIT); m.msg_iov=iv; sendmsg(c,&m,MSG_DONTWAIT|MSG_MORE); shutdown(c,SHUT_RDWR);
 int u[2]; socketpair(AF_UNIX,SOCK_DGRAM|SOCK_CLOEXEC,0,u); char cb[CMSG_SPACE(8)]; memset(cb,0,sizeof cb); struct msghdr mm={.msg_iov=iv,.msg_iovlen=1,.msg_control=cb,.msg_controllen=sizeof cb}; struct cmsghdr*cm=CMSG_FIRSTHDR(&mm); cm->cmsg_level=SOL_SOCKET; cm->cmsg_type=SCM_RIGHTS; cm->cmsg_len=CMSG_LEN(8); memcpy(CMSG_DATA(cm),p,8); sendmsg(u[0],&mm,0);
 struct sockaddr_un un; mm.msg_name=&un; mm.msg_namelen=sizeof un; mm.msg_iov=ov; recvmsg(u[1],&mm,MSG_CMSG_CLOEXEC); l=sizeof un; 
 struct mmsghdr mv[2]; memset(mv,0,sizeof mv); mv[0].msg_hdr.msg_iov=iv; mv[0].msg_hdr.msg_iovlen=1; mv[1]=mv[0]; sendmmsg(u[0],mv,2,0); mv[0].msg_hdr.msg_iov=ov; mv[1].msg_hdr.msg_iov=ov+1; recvmmsg(u[1],mv,2,MSG_DONTWAIT,0);  recvmmsg(u[1],mv,2,MSG_DONTWAIT,&ts);
 l=sizeof un; sendto(u[0],"x\0y",3,0,0,0); recvfrom(u[1],b2,100,0,(void*)&un,&l);
 int x=socket(AF_UNIX,SOCK_STREAM,0); memset(&un,0,sizeof un); un.sun_family=AF_UNIX; strcpy(un.sun_path,"/nonexistent/x"); connect(x,(void*)&un,sizeof un); un.sun_path[0]=0; connect(x,(void*)&un,10); connect(x,(void*)&un,2); connect(x,(void*)&un,1); connect(x,(void*)8,16); connect(x,0,0);
 struct sockaddr_in6 a6={AF_INET6,htons(5),htonl(7),{},3}; a6.sin6_addr.s6_addr[15]=1; int s6=socket(AF_INET6,SOCK_DGRAM,IPPROTO_UDP); bind(s6,(void*)&a6,sizeof a6); sendto(s6,"q",1,0,(void*)&a6,28); a6.sin6_family=200; bind(s6,(void*)&a6,28); a6.sin6_family=0; bind(s6,(void*)&a6,28); socket(AF_NETLINK,SOCK_RAW,0); socket(AF_PACKET,SOCK_RAW,htons(3)); socket(99,99,99); socket(AF_INET,SOCK_RAW,IPPROTO_ICMP);
 struct sigaction sa={.sa_handler=h,.sa_flags=SA_RESTART}; sigaction(SIGUSR1,&sa,0); sa.sa_flags=SA_SIGINFO|SA_NODEFER|SA_RESETHAND|SA_ONSTACK; sigfillset(&sa.sa_mask); sigaction(SIGUSR2,&sa,0); struct sigaction o; sigaction(SIGUSR2,0,&o); S(rt_sigaction,SIGRTMIN+1,0,&o,8); S(rt_sigaction,99,&sa,0,8); S(rt_sigaction,SIGUSR1,8,0,8);
 sigfillset(&ss); sigprocmask(SIG_BLOCK,&ss,0); sigemptyset(&ss); sigprocmask(SIG_SETMASK,&ss,&ss); S(rt_sigprocmask,7,&ss,8,8); kill(getpid(),SIGUSR1); raise(SIGUSR2); sigpending(&ss); union sigval sv={.sival_int=5}; sa.sa_handler=h; sigaction(SIGUSR2,&sa,0); sigqueue(getpid(),SIGUSR2,sv); sigemptyset(&ss); sigaddset(&ss,SIGINT); sigtimedwait(&ss,0,&ts); siginfo_t si; sigtimedwait(&ss,&si,&ts);
 stack_t st={.ss_sp=malloc(8192),.ss_size=8192}; sigaltstack(&st,0); sigaltstack(0,&st);
 struct winsize ws; ioctl(0,TIOCGWINSZ,&ws); int n; ioctl(p[0],FIONREAD,&n); n=1; ioctl(p[0],FIONBIO,&n); ioctl(p[0],FIOCLEX); ioctl(0,TCGETS,b2); ioctl(0,0x12345678,5); ioctl(0,TIOCGPGRP,&n); int pt=open("/dev/ptmx",O_RDWR|O_NOCTTY); ioctl(pt,TIOCGPTN,&n); ioctl(pt,TIOCSPTLCK,&n); struct termios tt; tcgetattr(pt,&tt); cfmakeraw(&tt); tcsetattr(pt,TCSANOW,&tt); tcsetattr(pt,TCSADRAIN,&tt);ioctl(pt,TIOCGWINSZ,&ws); ioctl(pt,TIOCSWINSZ,&ws); tcflush(pt,TCIOFLUSH);
 fcntl(p[0],F_GETFL); fcntl(p[0],F_SETFL,O_NONBLOCK|O_APPEND); fcntl(p[0],F_GETFD); fcntl(p[0],F_SETFD,FD_CLOEXEC); fcntl(p[0],F_SETFD,0); fcntl(p[0],F_DUPFD_CLOEXEC,50); fcntl(p[0],F_DUPFD,60); struct flock fl={F_WRLCK,SEEK_SET,0,10}; int fd=open("/tmp/probe.x",O_RDWR|O_CREAT|O_TRUNC|O_EXCL,0640); fcntl(fd,F_SETLK,&fl); fcntl(fd,F_GETLK,&fl); fcntl(fd,F_OFD_SETLK,&fl); fcntl(p[0],F_GETPIPE_SZ); fcntl(p[0],F_SETPIPE_SZ,4096); fcntl(p[0],F_SETOWN,getpid()); fcntl(p[0],F_GETOWN); fcntl(p[0],12345,7);
 prctl(PR_SET_NAME,"probe"); prctl(PR_GET_NAME,b2); prctl(PR_SET_PDEATHSIG,SIGTERM); prctl(PR_GET_PDEATHSIG,&n); prctl(PR_SET_NO_NEW_PRIVS,1,0,0,0); prctl(PR_GET_DUMPABLE); prctl(PR_SET_DUMPABLE,1); prctl(PR_GET_SECCOMP); prctl(PR_CAPBSET_READ,21); prctl(PR_GET_TIMERSLACK); prctl(PR_SET_CHILD_SUBREAPER,1); prctl(9999,1,2,3,4); prctl(PR_SET_KEEPCAPS,0); prctl(PR_GET_NO_NEW_PRIVS,0,0,0,0); prctl(PR_SET_VMA,0,0x1000,4096,"x");
 sched_getaffinity(0,128,(void*)b2); cpu_set_t cs; CPU_ZERO(&cs); CPU_SET(0,&cs); CPU_SET(1,&cs); sched_setaffinity(0,sizeof cs,&cs); sched_getscheduler(0); struct sched_param sp={0}; sched_getparam(0,&sp); sched_setscheduler(0,SCHED_BATCH,&sp); sched_get_priority_max(SCHED_FIFO); sched_rr_get_interval(0,&ts); 
 struct rlimit rl; getrlimit(RLIMIT_NOFILE,&rl); S(getrlimit,RLIMIT_CORE,&rl); S(setrlimit,RLIMIT_CORE,&rl); prlimit(0,RLIMIT_STACK,&rl,0); S(prlimit64,0,99,0,&rl); struct rusage ru; getrusage(RUSAGE_SELF,&ru); getpriority(PRIO_PROCESS,0); setpriority(PRIO_PROCESS,0,1);
 int fu=2; S(futex,&fu,FUTEX_WAIT_PRIVATE,3,0); ts.tv_sec=0;ts.tv_nsec=1000; S(futex,&fu,FUTEX_WAIT,2,&ts); S(futex,&fu,FUTEX_WAKE_PRIVATE,1); S(futex,&fu,FUTEX_WAIT_BITSET|FUTEX_CLOCK_REALTIME|FUTEX_PRIVATE_FLAG,2,&ts,0,-1); S(futex,&fu,FUTEX_WAKE_OP_PRIVATE,1,1,&fu,0x4000001); S(futex,&fu,FUTEX_CMP_REQUEUE,1,2,&fu,9); S(futex,&fu,FUTEX_WAKE_BITSET,1,0,0,5); S(futex,&fu,77,1,2,3,4); S(futex,&fu,FUTEX_LOCK_PI_PRIVATE,1,0); S(futex,&fu,FUTEX_UNLOCK_PI_PRIVATE);
 nanosleep(&ts,&ts); nanosleep(&ts,0); clock_nanosleep(CLOCK_MONOTONIC,TIMER_ABSTIME,&ts,0); S(clock_gettime,CLOCK_BOOTTIME,&ts); S(clock_getres,CLOCK_REALTIME,&ts); S(clock_gettime,-6,&ts); S(gettimeofday,&tv,0); S(time,0); struct itimerval it={{0,0},{100,0}}; setitimer(ITIMER_REAL,&it,0); getitimer(ITIMER_REAL,&it); it.it_value.tv_sec=0; setitimer(ITIMER_REAL,&it,&it); alarm(0); struct itimerspec its={{0,0},{5,6}}; int tf=timerfd_create(CLOCK_MONOTONIC,TFD_NONBLOCK|TFD_CLOEXEC); timerfd_settime(tf,TFD_TIMER_ABSTIME,&its,0); timerfd_gettime(tf,&its); timer_t tid; struct sigevent sev={.sigev_notify=SIGEV_SIGNAL,.sigev_signo=SIGALRM}; timer_create(CLOCK_REALTIME,&sev,&tid); timer_settime(tid,0,&its,0); timer_gettime(tid,&its); timer_getoverrun(tid); timer_delete(tid); struct timex tx={0}; adjtimex(&tx); struct tms tms; times(&tms);
 sigemptyset(&ss); sigaddset(&ss,SIGCHLD); signalfd(-1,&ss,SFD_CLOEXEC); eventfd(5,EFD_SEMAPHORE|EFD_NONBLOCK); int in=inotify_init1(IN_CLOEXEC); inotify_add_watch(in,"/tmp",IN_CREATE|IN_DELETE); inotify_rm_watch(in,1);
 struct stat sb; S(stat,"/dev/null",&sb); S(lstat,"/etc/passwd",&sb); S(fstat,p[0],&sb); S(stat,8,&sb); S(newfstatat,AT_FDCWD,"/tmp",&sb,AT_SYMLINK_NOFOLLOW); struct statx sx; statx(AT_FDCWD,"/etc/passwd",AT_STATX_DONT_SYNC,STATX_ALL,&sx); statx(5,"x",0,0xfff0000,&sx); struct statfs sf; statfs("/proc",&sf); statfs("/",&sf); fstatfs(1,&sf);
 S(open,"/nope",O_RDONLY); S(open,"/nope",O_WRONLY|O_DIRECTORY|O_PATH); S(open,"/tmp",O_RDWR|O_TMPFILE,0600); S(open,8,3|0x40000000); S(creat,"/tmp/probe.y",0600); openat(-100,"a\nb\x01\xff",O_RDONLY|O_DSYNC); S(openat,5,"",O_RDONLY|O_SYNC); struct open_how how={O_RDONLY|O_CLOEXEC,0,RESOLVE_BENEATH}; S(openat2,AT_FDCWD,"/x",&how,sizeof how); how.flags=O_CREAT|O_RDWR; how.mode=0600; how.resolve=0; S(openat2,AT_FDCWD,"/nope/x",&how,24);
 access("/",F_OK); access("/",R_OK|X_OK); faccessat(AT_FDCWD,"/x",W_OK,AT_EACCESS); S(faccessat,AT_FDCWD,"/x",R_OK); readlink("/proc/self/exe",b2,100); readlink("/proc/self/exe",b2,3); getcwd(b2,100); getcwd(b2,1); chdir("/nope"); mkdir("/nope/a",0755); rmdir("/nope"); rename("/nope/1","/nope/2"); renameat2(AT_FDCWD,"/nope",AT_FDCWD,"/x",RENAME_NOREPLACE); link("/nope","/x"); symlink("a","/nope/b"); unlink("/tmp/probe.x"); unlink("/tmp/probe.y"); unlinkat(AT_FDCWD,"/nope",AT_REMOVEDIR); chmod("/nope",04755); fchmod(fd,0600); chown("/nope",-1,5); fchown(fd,0,-1); fchownat(AT_FDCWD,"/nope",1,2,AT_SYMLINK_NOFOLLOW); umask(022); umask(0777); mknod("/nope/a",S_IFIFO|0600,0); mknod("/nope/a",S_IFCHR|0600,makedev(1,3)); truncate("/nope",5); ftruncate(fd,100); fallocate(fd,FALLOC_FL_KEEP_SIZE,0,10); lseek(fd,-5,SEEK_CUR); lseek(fd,0,SEEK_END); lseek(fd,0,77); flock(fd,2|4); fsync(fd); posix_fadvise(fd,0,0,POSIX_FADV_DONTNEED); readahead(fd,0,10); 
 struct utimbuf ub={1,2}; S(utime,"/nope",&ub); struct timeval tvs[2]={{1,2},{3,4}}; S(utimes,"/nope",tvs); struct timespec tss[2]={{1,UTIME_NOW},{0,UTIME_OMIT}}; utimensat(AT_FDCWD,"/nope",tss,0); futimens(fd,0); utimensat(fd,0,tss,0); 
 setxattr("/nope","user.x","v\0w",3,XATTR_CREATE); getxattr("/","user.x",b2,100); listxattr("/",b2,100); fsetxattr(fd,"user.a","v",1,0); removexattr("/nope","user.x"); 
 void*mp=mmap(0,8192,PROT_READ|PROT_WRITE,MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE,-1,0); madvise(mp,4096,MADV_DONTNEED); mprotect(mp,4096,PROT_NONE); mp=mremap(mp,8192,16384,MREMAP_MAYMOVE); msync(mp,4096,MS_SYNC); mincore(mp,4096,(void*)b2); mlock(mp,4096); munlock(mp,4096); mlockall(MCL_CURRENT); munlockall(); munmap(mp,16384); mmap((void*)7,4096,0,0,5,4096); mmap(0,4096,PROT_READ|0x100,MAP_SHARED|0x80000000,5,0); int mf=memfd_create("memo",MFD_CLOEXEC|MFD_ALLOW_SEALING); fcntl(mf,F_ADD_SEALS,F_SEAL_SHRINK|F_SEAL_WRITE); fcntl(mf,F_GET_SEALS); brk(0);
 int sh=shmget(IPC_PRIVATE,4096,IPC_CREAT|0600); void*sm=shmat(sh,0,SHM_RDONLY); shmdt(sm); shmctl(sh,IPC_RMID,0); int se=semget(IPC_PRIVATE,1,0600); struct sembuf sbf={0,1,IPC_NOWAIT|SEM_UNDO}; semop(se,&sbf,1); semctl(se,0,IPC_RMID,0); int mq=msgget(IPC_PRIVATE,IPC_CREAT|0600); struct{long t;char x[4];}mg={1,"abc"}; msgsnd(mq,&mg,4,0); msgrcv(mq,&mg,4,0,IPC_NOWAIT); msgctl(mq,IPC_RMID,0);
 struct utsname un2; uname(&un2); getuid(); setuid(0); setresuid(-1,0,-1); uid_t r1,r2,r3; getresuid(&r1,&r2,&r3); gid_t gs[5]; getgroups(5,gs); getgroups(0,0); setgroups(0,0); gs[0]=3;gs[1]=4; setgroups(2,gs); getsid(0); getpgid(0); setpgid(0,0); S(getcpu,&n,0,0); S(sysinfo,8); S(getrandom,b2,4,GRND_NONBLOCK); S(getrandom,b2,50,0); S(kcmp,getpid(),getpid(),0,0,1); S(membarrier,0,0); S(personality,-1); S(capget,8,0); S(capget,0,0); syscall(500,1,2,3,4,5,6); syscall(-1); S(iopl,0); S(close_range,1000,1001,CLOSE_RANGE_CLOEXEC); S(pidfd_open,getpid(),0); S(unshare,0); S(setns,99,CLONE_NEWNET); S(sendfile,1,77,0,5); off_t of=3; S(sendfile,1,77,&of,5); S(splice,77,0,1,0,5,SPLICE_F_MOVE); S(tee,77,78,5,0); S(copy_file_range,77,0,78,&of,5,0); S(dup3,fd,99,O_CLOEXEC); dup2(fd,98); dup(fd); write(77,"abc",3); write(77,"",0); write(77,(void*)8,3); write(77,0,3); write(p[1],"tab\tq\"uote\\ \e\r\n\x7f\x80""1\0012",20); write(p[1],"\0001\0008\000",5); S(read,77,8,3); S(pread64,77,b2,3,-1); S(pwrite64,77,"x",1,9); S(bpf,0,8,72); S(seccomp,2,0,8); S(perf_event_open,8,0,-1,-1,0); S(userfaultfd,O_CLOEXEC); S(mount,"a","/nope","tmpfs",MS_NOSUID|MS_RDONLY,"size=1"); S(umount2,"/nope",MNT_DETACH); S(ptrace,PTRACE_PEEKDATA,77,8,9); S(keyctl,0,1,2,3,4); S(swapoff,"/nope"); S(sethostname,8,5); S(quotactl,1,2,3,4); S(name_to_handle_at,AT_FDCWD,"/",8,8,0); S(rseq,8,32,0,5); S(set_tid_address,8); S(get_robust_list,0,&sx,&sb);S(io_setup,0,8); S(io_uring_setup,0,8); S(mq_open,"x",0); S(tgkill,1000000,1000000,9); S(tkill,1000000,0); S(syslog,10,0,0); S(arch_prctl,0x1003,&sx); S(modify_ldt,0,b2,0); S(sync_file_range,77,0,5,1); S(fadvise64,77,0,0,0); S(ioprio_get,1,0); 
 int cp=fork(); if(!cp){ _exit(3);} int stt; waitpid(cp,&stt,0); cp=fork(); if(!cp){ raise(SIGKILL);} waitpid(cp,&stt,0); cp=fork(); if(!cp){ raise(SIGSTOP); _exit(0);} waitpid(cp,&stt,WUNTRACED); S(wait4,cp,&stt,WNOHANG,&ru); kill(cp,SIGCONT); S(wait4,cp,&stt,WCONTINUED,0); S(wait4,cp,&stt,0,&ru); S(wait4,-1,&stt,WNOHANG|__WALL,&ru); cp=fork(); if(!cp) _exit(7); waitid(P_PID,cp,&si,WEXITED|WNOWAIT); S(waitid,P_ALL,0,&si,WEXITED|WNOHANG,&ru); S(waitid,P_ALL,0,&si,WEXITED,0);
 struct clone_args ca={.flags=CLONE_PARENT_SETTID,.exit_signal=SIGCHLD,.parent_tid=(unsigned long)&n}; cp=S(clone3,&ca,sizeof ca); if(!cp)_exit(0); waitpid(cp,0,0); S(clone3,8,64); S(clone3,0,8);
 S(execve,"/nope",(char*[]){"a","b",0},(char*[]){"x=y",0}); S(execve,"/nope",0,0); S(execve,8,8,8); S(execveat,AT_FDCWD,"/nope",(char*[]){"a",0},(char*[]){0},AT_SYMLINK_NOFOLLOW);
 S(exit_group,5);
}
