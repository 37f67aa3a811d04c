#include "sim/watchdog.h"

#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "sim/probe.h"
#include "sim/trap.h"

/* Looks within the limit: an operation that began between two of them is given one more. */
#define LOOKS 8
/* glibc before 2.36 does not name the field. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static _Thread_local struct {
	timer_t timer;
	bool running;
	unsigned limit_ms;
	volatile uint64_t operation; /* seen at the last look */
	volatile unsigned looks;     /* that have seen it */
} watchdog;

static void on_look(int signal, siginfo_t *info, void *context)
{
	const ucontext_t *state = context;
	const void *pc = (const void *)(uintptr_t)state->uc_mcontext.gregs[REG_RIP];
	int saved_errno = errno;

	if (!watchdog.running)
		return;
	if (!trap_mark.inside || trap_mark.operations != watchdog.operation) {
		watchdog.operation = trap_mark.operations;
		watchdog.looks = 0;
		return;
	}
	watchdog.looks++;
	if (watchdog.looks < LOOKS)
		return;
	/* The first time the next probe leaves; where none comes, it can be left from here. */
	if (watchdog.looks > LOOKS || !probe_interrupt(watchdog.limit_ms))
		trap_hang(watchdog.limit_ms, pc);
	errno = saved_errno;
}

static void install_handler(void)
{
	static gsize once;
	struct sigaction action = { .sa_sigaction = on_look,
				    .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART };

	if (!g_once_init_enter(&once))
		return;
	sigemptyset(&action.sa_mask);
	if (sigaction(SIGVTALRM, &action, NULL) != 0)
		g_error("lab error: sigaction: %s", g_strerror(errno));
	g_once_init_leave(&once, 1);
}

void watchdog_start(unsigned limit_ms)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGVTALRM };
	uint64_t step_ns = (uint64_t)limit_ms * 1000000 / LOOKS;
	struct timespec step = { (time_t)(step_ns / 1000000000), (long)(step_ns % 1000000000) };
	struct itimerspec every = { .it_interval = step, .it_value = step };

	if (limit_ms == 0 || watchdog.running)
		return;
	install_handler();
	trap_prepare_thread();
	event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
	if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &watchdog.timer) != 0)
		g_error("lab error: timer_create: %s", g_strerror(errno));
	watchdog.limit_ms = limit_ms;
	watchdog.looks = 0;
	watchdog.running = true;
	if (timer_settime(watchdog.timer, 0, &every, NULL) != 0)
		g_error("lab error: timer_settime: %s", g_strerror(errno));
}

void watchdog_stop(void)
{
	if (!watchdog.running)
		return;
	watchdog.running = false;
	timer_delete(watchdog.timer);
}
