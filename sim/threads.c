/* Host threads as CPUs: start, watching, and how they end. */
#include "sim/threads.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "alloc/lock.h"
#include "sim/lab.h"

#define POLL_NS	       (10 * 1000 * 1000L)
#define WALL_FACTOR    10 /* a thread that sleeps instead of working, or gets no CPU */
#define SPINS	       64 /* looks before the host's CPU is left to others */
#define SLEEP_LOOKS    1024
#define SLEEP_US       50
#define FAREWELL_POLLS 500 /* a thread that was told to stop, and does not */

/* What the watcher knows of one thread. */
struct thread {
	struct threads_worker worker;
	pthread_t pthread;
	bool started; /* pthread is valid */
	bool ended;   /* written by the thread, under the lock */
	bool stuck;   /* written by the watcher: it is this one that shows no sign of life */
	bool died;
	struct trap_report trap;
	uint64_t begin_ns, end_ns, cpu_ns;
	const struct spinlock *looked_at; /* last */
	unsigned cpu;			  /* then */
	uint64_t waited_at;		  /* signs of life then, plus 1 */
	/* The watcher's: when it last saw a sign of life. */
	uint64_t steps, cpu_then_ns, wall_then_ns;
	unsigned farewell;
};

struct threads {
	const struct threads_config *config;
	unsigned limit_ms;
	pthread_mutex_t lock;
	pthread_cond_t change;
	unsigned waiting, running; /* at the start line; not ended */
	unsigned awake;		   /* and away from it */
	bool go;
	bool stop;	      /* atomic: everybody returns as soon as they can */
	unsigned first_death; /* index, or THREADS_MAX */
	struct thread thread[];
};

static _Thread_local struct thread *self;

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now) != 0)
		return 0;
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static bool flag(const bool *at)
{
	return __atomic_load_n(at, __ATOMIC_RELAXED);
}

/* ---- the threads' side ---- */

void threads_set_cpu(struct threads_worker *worker, unsigned cpu)
{
	machine_enter_as(worker->threads->config->machine, cpu);
}

bool threads_stopping(const struct threads_worker *worker)
{
	return flag(&worker->threads->stop);
}

static void pause_a_while(unsigned *looks)
{
	if (++*looks < SPINS)
		__builtin_ia32_pause();
	else if (*looks < SLEEP_LOOKS)
		sched_yield();
	else
		g_usleep(SLEEP_US);
}

bool threads_wait(struct threads_worker *worker, unsigned *looks)
{
	pause_a_while(looks);
	threads_alive(worker);
	return !threads_stopping(worker);
}

/* machine->spin_wait: in the middle of kernel code. No sign of life: that is for who has the lock.
 */
static void wait_for_lock(void *context, const struct spinlock *lock)
{
	struct threads *threads = context;
	static _Thread_local unsigned looks;
	int holder = (int)__atomic_load_n(&lock->holder, __ATOMIC_RELAXED) - 1;

	__atomic_store_n(&self->looked_at, lock, __ATOMIC_RELAXED);
	__atomic_store_n(&self->cpu, port_cpu(), __ATOMIC_RELAXED);
	__atomic_store_n(&self->waited_at, self->worker.steps + 1, __ATOMIC_RELAXED);
	if (flag(&self->stuck))
		trap_die("deadlock",
			 "waits for a lock that CPU %d has and does not give back within %u ms",
			 holder, threads->limit_ms);
	if (flag(&threads->stop))
		trap_die("stopped", "waits for a lock that CPU %d has, and another CPU has died",
			 holder);
	looks = looks < SLEEP_LOOKS - 1 ? looks : 0; /* never sleep: a lock is held for a moment */
	pause_a_while(&looks);
}

static void run_kernel(void *argument)
{
	struct thread *thread = argument;
	const struct threads_config *config = thread->worker.threads->config;

	config->run(&thread->worker);
}

static void line_up(struct threads *threads)
{
	pthread_mutex_lock(&threads->lock);
	threads->waiting++;
	pthread_cond_broadcast(&threads->change);
	while (!threads->go)
		pthread_cond_wait(&threads->change, &threads->lock);
	unsigned all = threads->waiting;
	pthread_mutex_unlock(&threads->lock);
	/* Waking up takes the host longer than many an operation: together, or one after the other
	 * is what would be measured. */
	__atomic_add_fetch(&threads->awake, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&threads->awake, __ATOMIC_ACQUIRE) < all)
		sched_yield();
}

static void say_farewell(struct threads *threads, struct thread *thread)
{
	pthread_mutex_lock(&threads->lock);
	thread->ended = true;
	if (thread->died && threads->first_death == THREADS_MAX)
		threads->first_death = thread->worker.index;
	if (thread->died)
		__atomic_store_n(&threads->stop, true, __ATOMIC_RELAXED);
	threads->running--;
	pthread_cond_broadcast(&threads->change);
	pthread_mutex_unlock(&threads->lock);
}

static void *thread_main(void *argument)
{
	struct thread *thread = argument;
	struct threads *threads = thread->worker.threads;

	self = thread;
	trap_prepare_thread();
	machine_enter_as(threads->config->machine, thread->worker.index);
	line_up(threads);
	uint64_t cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	thread->begin_ns = clock_ns(CLOCK_MONOTONIC);
	thread->died = !trap_run(run_kernel, thread, &thread->trap);
	thread->end_ns = clock_ns(CLOCK_MONOTONIC);
	thread->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
	machine_leave();
	say_farewell(threads, thread);
	return NULL;
}

/* ---- the watcher's side ---- */

static uint64_t cpu_of(const struct thread *thread)
{
	clockid_t clock;

	return pthread_getcpuclockid(thread->pthread, &clock) == 0 ? clock_ns(clock) : 0;
}

static void note_life(struct thread *thread, uint64_t steps)
{
	thread->steps = steps;
	thread->cpu_then_ns = cpu_of(thread);
	thread->wall_then_ns = clock_ns(CLOCK_MONOTONIC);
}

static bool shows_no_life(struct thread *thread, unsigned limit_ms)
{
	uint64_t steps = __atomic_load_n(&thread->worker.steps, __ATOMIC_RELAXED);
	uint64_t limit_ns = limit_ms * 1000000ull;

	if (steps != thread->steps) {
		note_life(thread, steps);
		return false;
	}
	return cpu_of(thread) - thread->cpu_then_ns >= limit_ns ||
	       clock_ns(CLOCK_MONOTONIC) - thread->wall_then_ns >= limit_ns * WALL_FACTOR;
}

/* In the operation that it is in now it has looked at a lock, and not got it. */
static bool waits_for_lock(const struct thread *thread)
{
	const struct spinlock *lock = __atomic_load_n(&thread->looked_at, __ATOMIC_RELAXED);

	return lock &&
	       __atomic_load_n(&thread->waited_at, __ATOMIC_RELAXED) ==
		       __atomic_load_n(&thread->worker.steps, __ATOMIC_RELAXED) + 1 &&
	       __atomic_load_n(&lock->holder, __ATOMIC_RELAXED) !=
		       __atomic_load_n(&thread->cpu, __ATOMIC_RELAXED) + 1;
}

/* Told to stop, a thread first gets the time to see it by itself; then a signal takes it out of
 * kernel code. */
static void end(struct threads *threads, struct thread *thread)
{
	thread->farewell++;
	if (thread->farewell < 3)
		return;
	if (thread->farewell % 3 == 0)
		trap_interrupt(thread->pthread, threads->limit_ms);
	if (thread->farewell < FAREWELL_POLLS)
		return;
	fprintf(stderr, "lab error: host thread %u cannot be ended\n", thread->worker.index);
	_exit(4);
}

/* One is over the limit; the others that have not moved for half of it may be why, or because. */
static void mark_stuck(struct threads *threads)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);

	for (unsigned i = 0; i < threads->config->count; i++) {
		struct thread *thread = &threads->thread[i];
		if (!thread->ended &&
		    now_ns - thread->wall_then_ns >= threads->limit_ms * 500000ull)
			__atomic_store_n(&thread->stuck, true, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&threads->stop, true, __ATOMIC_RELAXED);
}

static void look_at(struct threads *threads, struct thread *thread)
{
	if (thread->ended)
		return;
	if (!flag(&threads->stop) && shows_no_life(thread, threads->limit_ms))
		mark_stuck(threads);
	if (flag(&threads->stop))
		end(threads, thread);
}

static void watch(struct threads *threads)
{
	struct timespec until;

	pthread_mutex_lock(&threads->lock);
	while (threads->running) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += POLL_NS;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		while (threads->running && pthread_cond_timedwait(&threads->change, &threads->lock,
								  &until) != ETIMEDOUT)
			;
		for (unsigned i = 0; i < threads->config->count; i++)
			look_at(threads, &threads->thread[i]);
	}
	pthread_mutex_unlock(&threads->lock);
}

static void let_go(struct threads *threads)
{
	pthread_mutex_lock(&threads->lock);
	while (threads->waiting < threads->running)
		pthread_cond_wait(&threads->change, &threads->lock);
	for (unsigned i = 0; i < threads->running; i++)
		note_life(&threads->thread[i], 0);
	threads->go = true;
	pthread_cond_broadcast(&threads->change);
	pthread_mutex_unlock(&threads->lock);
}

static bool start(struct threads *threads, GError **error)
{
	for (unsigned i = 0; i < threads->config->count; i++) {
		struct thread *thread = &threads->thread[i];
		thread->worker = (struct threads_worker){ .threads = threads,
							  .index = i,
							  .context = threads->config->context };
		pthread_mutex_lock(&threads->lock);
		int failed = pthread_create(&thread->pthread, NULL, thread_main, thread);
		thread->started = !failed;
		threads->running += !failed;
		pthread_mutex_unlock(&threads->lock);
		if (failed) {
			errno = failed;
			return lab_set_errno(error, "a host thread");
		}
	}
	return true;
}

/* Whose end explains the others': who sits in a loop of its own, else who waits in vain for a lock,
 * else who died first. */
static const struct thread *find_culprit(const struct threads *threads)
{
	const struct thread *found = NULL;

	for (unsigned i = 0; i < threads->config->count; i++) {
		const struct thread *thread = &threads->thread[i];
		if (thread->died && thread->stuck && (!found || !waits_for_lock(thread)))
			found = thread;
	}
	return found || threads->first_death == THREADS_MAX
		       ? found
		       : &threads->thread[threads->first_death];
}

static void sum_up(const struct threads *threads, struct threads_report *report)
{
	const struct thread *culprit = find_culprit(threads);
	uint64_t begin = UINT64_MAX, end_ns = 0;

	for (unsigned i = 0; i < threads->config->count; i++) {
		const struct thread *thread = &threads->thread[i];
		begin = MIN(begin, thread->begin_ns);
		end_ns = MAX(end_ns, thread->end_ns);
		report->cpu_ns += thread->cpu_ns;
	}
	report->wall_ns = end_ns - begin;
	report->died = culprit != NULL;
	if (!culprit)
		return;
	report->thread = culprit->worker.index;
	report->trap = culprit->trap;
	/* The signal was faster than its own look at what it is told. */
	if (strcmp(report->trap.kind, "hang") == 0 && waits_for_lock(culprit)) {
		g_strlcpy(report->trap.kind, "deadlock", sizeof(report->trap.kind));
		g_snprintf(report->trap.message, sizeof(report->trap.message),
			   "waits for a lock that it does not get within %u ms", threads->limit_ms);
	}
}

static struct threads *threads_new(const struct threads_config *config)
{
	gsize bytes = sizeof(struct threads) + config->count * sizeof(struct thread);
	struct threads *threads = g_aligned_alloc0(1, bytes, 128);
	pthread_condattr_t attributes;

	threads->config = config;
	threads->limit_ms = config->limit_ms ? config->limit_ms : THREADS_LIMIT_MS;
	threads->first_death = THREADS_MAX;
	pthread_mutex_init(&threads->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&threads->change, &attributes);
	pthread_condattr_destroy(&attributes);
	return threads;
}

bool threads_run(const struct threads_config *config, struct threads_report *report, GError **error)
{
	struct threads *threads = threads_new(config);
	struct machine *machine = config->machine;

	*report = (struct threads_report){ 0 };
	machine->spin_wait = wait_for_lock;
	machine->spin_context = threads;
	bool fine = start(threads, error);
	/* Those who stand at the line already must get away from it. */
	__atomic_store_n(&threads->stop, !fine, __ATOMIC_RELAXED);
	let_go(threads);
	watch(threads);
	for (unsigned i = 0; i < config->count; i++)
		if (threads->thread[i].started)
			pthread_join(threads->thread[i].pthread, NULL);
	machine->spin_wait = NULL;
	if (fine)
		sum_up(threads, report);
	pthread_cond_destroy(&threads->change);
	pthread_mutex_destroy(&threads->lock);
	g_aligned_free(threads);
	return fine;
}
