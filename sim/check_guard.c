/* A trial's process: its limits, and how it ended. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/check_trial.h"
#include "sim/lab.h"
#include "sim/trap.h"

/* A process that sleeps instead of working: wall clock, in units of its CPU time. */
#define WALL_FACTOR 10

static struct trial_outcome *shared; /* in the trial's process: where it says how it dies */

static void die(int signal, siginfo_t *info, void *context)
{
	/* Only once: what follows may fault too. */
	struct sigaction plain = { .sa_handler = SIG_DFL };
	sigaction(signal, &plain, NULL);
	if (shared && !shared->failed) {
		shared->failed = true;
		strcpy(shared->kind, "crash");
		trap_describe_crash(signal, info, context, shared->message,
				    sizeof(shared->message));
	}
	_exit(1);
}

static void catch_crashes(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
	struct sigaction action = { .sa_sigaction = die, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	for (unsigned i = 0; i < G_N_ELEMENTS(signals); i++)
		sigaction(signals[i], &action, NULL);
}

static unsigned limit_ms; /* 0: no limit here */

void trial_alive(void)
{
	time_t seconds = limit_ms / 1000;
	struct itimerval cpu = { .it_value = { seconds, limit_ms % 1000 * 1000 } };
	struct itimerval wall = { .it_value = { seconds * WALL_FACTOR + WALL_FACTOR, 0 } };

	if (limit_ms == 0)
		return;
	setitimer(ITIMER_PROF, &cpu, NULL);
	setitimer(ITIMER_REAL, &wall, NULL);
}

/* The kernel of the host ends the process; nothing in it need co-operate. */
static void limit(unsigned cpu_ms)
{
	const struct rlimit no_core = { 0, 0 };

	signal(SIGPROF, SIG_DFL);
	signal(SIGALRM, SIG_DFL);
	setrlimit(RLIMIT_CORE, &no_core);
	limit_ms = cpu_ms;
	trial_alive();
}

static int wait_for(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return status;
}

static void judge_end(struct trial_outcome *outcome, int status, unsigned cpu_ms)
{
	int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	if (outcome->done || outcome->failed)
		return;
	outcome->failed = true;
	if (signal == SIGPROF || signal == SIGALRM) {
		g_strlcpy(outcome->kind, "hang", sizeof(outcome->kind));
		g_snprintf(outcome->message, sizeof(outcome->message),
			   "does not come back within %u ms of CPU time", cpu_ms);
		return;
	}
	g_strlcpy(outcome->kind, "crash", sizeof(outcome->kind));
	if (signal)
		g_snprintf(outcome->message, sizeof(outcome->message), "ends its process: %s",
			   strsignal(signal));
	else
		g_snprintf(outcome->message, sizeof(outcome->message),
			   "ends its process with exit code %d", WEXITSTATUS(status));
}

bool trial_run(const struct trial *trial, struct trial_outcome *outcome, GError **error)
{
	struct trial_outcome *page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return lab_set_errno(error, "memory for a trial");
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		shared = page;
		limit(trial->cpu_ms);
		catch_crashes();
		trial_execute(trial, page);
		page->done = true;
		_exit(0);
	}
	if (child < 0) {
		lab_set_errno(error, "a process for a trial");
	} else {
		judge_end(page, wait_for(child), trial->cpu_ms);
		*outcome = *page;
	}
	munmap(page, sizeof(*page));
	return child > 0;
}

bool trial_guard(bool (*fn)(void *), void *argument, unsigned cpu_ms)
{
	fflush(NULL);
	pid_t child = fork();

	if (child == 0) {
		limit(cpu_ms);
		catch_crashes();
		_exit(fn(argument) ? 0 : 1);
	}
	return child > 0 && wait_for(child) == 0;
}
