#include "guest.h"
#include <semaphore.h>

static int fds[2];
static int cleaned;
static volatile pid_t there;
static void cleanup(void *arg) { cleaned += (long)arg; }
static void *blocked(void *how) {
	pthread_cleanup_push(cleanup, (void *)1);
	pthread_cleanup_push(cleanup, (void *)10);
	char byte;
	there = syscall(SYS_gettid);
	switch ((long)how) {
	case 0: (void)!read(fds[0], &byte, 1); break;
	case 1: pause(); break;
	case 2: sleep(100); break;
	case 3: poll(NULL, 0, 100000); break;
	case 4: {
		sigset_t set;
		sigemptyset(&set);
		int number;
		sigwait(&set, &number);
		break;
	}
	case 5: {
		static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
		static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
		pthread_mutex_lock(&lock);
		pthread_cleanup_push((void (*)(void *))pthread_mutex_unlock, &lock);
		pthread_cond_wait(&never, &lock);
		pthread_cleanup_pop(1);
		break;
	}
	case 6: {
		static sem_t never;
		sem_wait(&never);
		break;
	}
	}
	pthread_cleanup_pop(0);
	pthread_cleanup_pop(0);
	return NULL;
}
static void *spinning(void *arg) {
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	for (;;) getppid();
	return arg;
}
static void *polite(void *arg) {
	(void)arg;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	there = syscall(SYS_gettid);
	char byte;
	/* Disabled: the read goes on, through the signal that cancellation sends. */
	long value = read(fds[0], &byte, 1);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	pthread_testcancel();
	return (void *)value;
}

int main(void) {
	if (pipe(fds)) return 1;
	for (long how = 0; how < 7; how++) {
		int good = 0;
		for (int i = 0; i < 20; i++) {
			pthread_t thread;
			void *result;
			cleaned = there = 0;
			pthread_create(&thread, NULL, blocked, (void *)how);
			/* Before it has begun, on the way to the call, and while it blocks. */
			if (i % 4) while (!there) sched_yield();
			if (i % 4 == 2) usleep(i * 5);
			if (i % 4 == 3) wait_until_in(there, -1);
			pthread_cancel(thread);
			pthread_join(thread, &result);
			good += result == PTHREAD_CANCELED && (cleaned == 11 || i % 4 == 0);
		}
		SAY("way %ld: %d\n", how, good);
	}
	for (int i = 0; i < 20; i++) {
		pthread_t thread;
		void *result;
		pthread_create(&thread, NULL, spinning, NULL);
		usleep(100);
		pthread_cancel(thread);
		pthread_join(thread, &result);
		if (result != PTHREAD_CANCELED) SAY("not cancelled\n");
	}
	pthread_t thread;
	void *result;
	there = 0;
	pthread_create(&thread, NULL, polite, NULL);
	while (!there) sched_yield();
	wait_until_in(there, SYS_read);
	pthread_cancel(thread);
	usleep(2000);
	if (write(fds[1], "x", 1) != 1) return 2;
	pthread_join(thread, &result);
	char byte;
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	SAY("polite %d, byte was %s\n", result == PTHREAD_CANCELED, read(fds[0], &byte, 1) == 1 ? "left" : "taken");
	return 0;
}
