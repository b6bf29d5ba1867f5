/* Threads that wait for sockets with a limit of time, and for a ring: the kernel begins none of these calls again by itself.
 * What they wait for comes with the end of standard input. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SENDTO, WRITE, WRITEV, SENDMSG, SENDMMSG, READ, READV, RECVFROM, RECVMSG, RECVMMSG, RING, ALL };

static const int numbers[ALL] = {SYS_sendto, SYS_write,	   SYS_writev,	SYS_sendmsg,  SYS_sendmmsg,	 SYS_read,
				 SYS_readv,  SYS_recvfrom, SYS_recvmsg, SYS_recvmmsg, SYS_io_uring_enter};
static int sockets[ALL][2];
static atomic_int ids[ALL];

static void *waits(void *argument) {
	long what = (long)argument;
	int socket = sockets[what][0], ring = -1;
	static char many[4096];
	struct iovec part = {many, sizeof many};
	struct mmsghdr message = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
	struct __kernel_timespec time = {2, 0};
	struct io_uring_getevents_arg limit = {.ts = (unsigned long)&time};
	if (what == RING) {
		struct io_uring_params parameters;
		memset(&parameters, 0, sizeof parameters);
		ring = (int)syscall(SYS_io_uring_setup, 4, &parameters);
		if (ring < 0) {
			ids[what] = -1; /* it is forbidden here */
			return 0;
		}
	}
	ids[what] = (int)syscall(SYS_gettid);
	long got = 0;
	switch (what) {
	case SENDTO: got = send(socket, many, sizeof many, 0); break;
	case WRITE: got = write(socket, many, sizeof many); break;
	case WRITEV: got = writev(socket, &part, 1); break;
	case SENDMSG: got = sendmsg(socket, &message.msg_hdr, 0); break;
	case SENDMMSG: got = sendmmsg(socket, &message, 1, 0); break;
	case READ: got = read(socket, many, 1); break;
	case READV: got = readv(socket, &part, 1); break;
	case RECVFROM: got = recv(socket, many, 1, 0); break;
	case RECVMSG: got = recvmsg(socket, &message.msg_hdr, 0); break;
	case RECVMMSG: got = recvmmsg(socket, &message, 1, 0, 0); break;
	default:
		got = syscall(SYS_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &limit, sizeof limit);
		return (void *)(long)(got == -1 && errno == ETIME ? 0 : errno);
	}
	return (void *)(long)(got > 0 ? 0 : errno);
}

static int is_waiting(int what) {
	char name[64], now[8] = "";
	if (ids[what] < 0)
		return 1;
	snprintf(name, sizeof name, "/proc/self/task/%d/syscall", ids[what]);
	int file = open(name, O_RDONLY);
	if (file < 0)
		return 0;
	ssize_t got = read(file, now, sizeof now - 1);
	close(file);
	int number;
	return got > 0 && sscanf(now, "%d", &number) == 1 && number == numbers[what];
}

int main(void) {
	pthread_t threads[ALL];
	struct timeval limit = {600, 0};
	static char many[4096];
	for (long n = 0; n < ALL; n++) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets[n]) != 0)
			return 2;
		setsockopt(sockets[n][0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
		setsockopt(sockets[n][0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
		while (n <= SENDMMSG && send(sockets[n][0], many, sizeof many, MSG_DONTWAIT) > 0)
			;
		pthread_create(&threads[n], 0, waits, (void *)n);
	}
	for (int n = 0; n < ALL; n++)
		while (!is_waiting(n))
			usleep(1000);
	puts("ready");
	fflush(stdout);
	while (read(0, many, sizeof many) > 0)
		;
	for (int n = 0; n < RING; n++)
		if (n > SENDMMSG)
			write(sockets[n][1], "x", 1);
		else
			while (recv(sockets[n][1], many, sizeof many, MSG_DONTWAIT) > 0)
				;
	for (int n = 0; n < ALL; n++) {
		void *error;
		pthread_join(threads[n], &error);
		if (error)
			printf("call %d: %s\n", numbers[n], strerror((int)(long)error));
	}
	puts("ended");
	return 0;
}
