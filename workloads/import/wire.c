#include "workloads/import/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "workloads/import/owners.h"
#include "workloads/import/source.h"

/* The importing side: holds the reading process on a short lead and turns its messages into raw
 * events. */

/* The reading process gets so much, and more for large files. */
#define MEMORY_LIMIT	(UINT64_C(4) << 30)
#define CPU_SECONDS	20
#define CPU_PER_BYTE	(UINT64_C(1) << 20) /* one more second each */
#define SILENCE_SECONDS 15
#define FILE_LIMIT	(UINT64_C(1) << 30)

/* AddressSanitizer's shadow does not fit any limit. GCC says that it is there, clang is asked. */
#if defined(__SANITIZE_ADDRESS__)
#define HAS_SHADOW 1
#elif defined(__has_feature)
#define HAS_SHADOW __has_feature(address_sanitizer)
#else
#define HAS_SHADOW 0
#endif

struct reading {
	struct import_job *job;
	pid_t child;
	struct wire_shared *shared;
	int filled, credit, credit_read; /* ends of the pipes of struct wire_end */
	int chatter;			 /* what the libraries said on stderr */
	int patience_ms;		 /* without a message */
	uint64_t records;		 /* events and malformed records so far */
	uint64_t offset;		 /* byte of the last one in the file */
	GString *text;			 /* pieces so far */
	GArray *strings;		 /* uint32_t: owners' id by the child's */
};

static bool system_error(GError **error, const char *what)
{
	trace_error_set(error, TRACE_ERROR_IO, "cannot %s: %s", what, g_strerror(errno));
	return false;
}

/* ---- the reading process ---- */

static void limit(int resource, uint64_t value)
{
	struct rlimit rlimit = { value, value };
	setrlimit((__rlimit_resource_t)resource, &rlimit);
}

static void become_reader(struct wire_input *input, int chatter)
{
	uint64_t bytes = input->bytes;
	char path[40];

	/* An offset of its own, so that reading does not move the parent's. */
	snprintf(path, sizeof path, "/proc/self/fd/%d", input->file);
	int own = input->file >= 0 ? open(path, O_RDONLY) : -1;
	input->file = own >= 0 ? own : input->file;
	int nothing = open("/dev/null", O_RDWR);
	dup2(nothing, STDIN_FILENO);
	dup2(nothing, STDOUT_FILENO);
	dup2(chatter, STDERR_FILENO);
	/* A crash ends the process at once, whatever handlers the program has. */
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
	signal(SIGFPE, SIG_DFL);
	signal(SIGILL, SIG_DFL);
	signal(SIGABRT, SIG_DFL);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_CPU, CPU_SECONDS + bytes / CPU_PER_BYTE);
	limit(RLIMIT_FSIZE, FILE_LIMIT + 64 * bytes);
	if (!HAS_SHADOW)
		limit(RLIMIT_AS, MEMORY_LIMIT + 16 * bytes);
}

static bool make_wire(struct reading *reading, struct wire_end *end, GError **error)
{
	int filled[2], credit[2];

	void *shared = mmap(NULL, sizeof(struct wire_shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return system_error(error, "share memory");
	reading->shared = shared;
	if (pipe2(filled, O_CLOEXEC) != 0)
		return system_error(error, "make a pipe");
	reading->filled = filled[0];
	if (pipe2(credit, O_CLOEXEC) != 0) {
		close(filled[1]);
		return system_error(error, "make a pipe");
	}
	reading->credit = credit[1];
	reading->credit_read = credit[0];
	*end = (struct wire_end){ shared, filled[1], credit[0] };
	return true;
}

static bool start(struct reading *reading, const struct wire_input *input,
		  void (*read)(const struct wire_input *input, struct wire_end end), GError **error)
{
	struct wire_end end;

	if (!make_wire(reading, &end, error))
		return false;
	reading->chatter = memfd_create("chatter", MFD_CLOEXEC);
	reading->patience_ms = 1000 * (SILENCE_SECONDS + (int)MIN(input->bytes >> 24, 1 << 20));
	reading->child = fork();
	if (reading->child == 0) {
		/* Or the process would wait for itself when the other one is gone. */
		close(reading->credit);
		struct wire_input ours = *input;
		become_reader(&ours, reading->chatter);
		read(&ours, end);
		_exit(1);
	}
	/* The end of the credits stays open here too: to give one to a process that has died is
	 * no error. */
	close(end.filled);
	return reading->child > 0 ? true : system_error(error, "start a process");
}

static void stop(struct reading *reading)
{
	if (reading->child > 0) {
		kill(reading->child, SIGKILL);
		while (waitpid(reading->child, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (reading->filled >= 0)
		close(reading->filled);
	if (reading->credit >= 0)
		close(reading->credit);
	if (reading->credit_read >= 0)
		close(reading->credit_read);
	if (reading->shared)
		munmap(reading->shared, sizeof *reading->shared);
	if (reading->chatter >= 0)
		close(reading->chatter);
	g_string_free(reading->text, TRUE);
	g_array_unref(reading->strings);
}

/* ---- errors ---- */

/* The last thing that the libraries said, for the message; empty if they were silent. */
static char *last_chatter(const struct reading *reading)
{
	char buffer[2048];
	ssize_t size = lseek(reading->chatter, 0, SEEK_END);
	ssize_t got = pread(reading->chatter, buffer, sizeof buffer - 1,
			    MAX(0, size - (ssize_t)sizeof buffer + 1));

	if (got <= 0)
		return g_strdup("");
	buffer[got] = '\0';
	g_strchomp(buffer);
	const char *newline = strrchr(buffer, '\n');
	g_autofree char *line = g_utf8_make_valid(newline ? newline + 1 : buffer, -1);
	g_strstrip(line);
	return *line ? g_strdup_printf(" (%.200s)", line) : g_strdup("");
}

static bool broken(const struct reading *reading, const char *what, GError **error)
{
	g_autofree char *chatter = last_chatter(reading);

	trace_error_set(error, TRACE_ERROR_FORMAT,
			"%s: event %" G_GUINT64_FORMAT " (byte %" G_GUINT64_FORMAT "): %s%s",
			import_source_path(reading->job->source), reading->records, reading->offset,
			what, chatter);
	return false;
}

/* The pipe has ended without WIRE_END. */
static bool died(struct reading *reading, GError **error)
{
	int status = 0;
	char what[80];

	while (waitpid(reading->child, &status, 0) < 0 && errno == EINTR)
		;
	reading->child = 0;
	if (WIFSIGNALED(status))
		snprintf(what, sizeof what, "damaged: its reader was ended by signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(what, sizeof what, "damaged: its reader gave up");
	return broken(reading, what, error);
}

static bool malformed(struct reading *reading, GError *problem, GError **error)
{
	char place[80];

	snprintf(place, sizeof place, ": event %" G_GUINT64_FORMAT " (byte %" G_GUINT64_FORMAT ")",
		 reading->records, reading->offset);
	return import_malformed(reading->job, place, problem, error);
}

/* ---- messages ---- */

static uint32_t string_of(const struct reading *reading, uint32_t id)
{
	return id > 0 && id <= reading->strings->len
		       ? g_array_index(reading->strings, uint32_t, id - 1)
		       : 0;
}

static void map_strings(const struct reading *reading, struct raw_event *raw)
{
	raw->name = string_of(reading, raw->name);
	if (raw->kind == RAW_MARKER)
		raw->u.marker.text = string_of(reading, raw->u.marker.text);
	else if (raw->kind == RAW_CACHE_FREE)
		raw->u.slab.cache = string_of(reading, raw->u.slab.cache);
	else if (raw->kind >= RAW_FORK && raw->kind <= RAW_EXIT)
		raw->u.process.text = string_of(reading, raw->u.process.text);
}

static bool take_event(struct reading *reading, struct wire_message *message, GError **error)
{
	GError *problem = NULL;

	reading->offset = message->number;
	map_strings(reading, &message->u.raw);
	bool added = owners_add(reading->job->owners, &message->u.raw, &problem) ||
		     malformed(reading, problem, error);
	reading->records++;
	return added;
}

static bool take_malformed(struct reading *reading, const struct wire_message *message,
			   GError **error)
{
	reading->offset = message->number;
	bool skipped = malformed(
		reading, g_error_new_literal(TRACE_ERROR, TRACE_ERROR_FORMAT, reading->text->str),
		error);
	g_string_truncate(reading->text, 0);
	reading->records++;
	return skipped;
}

static void take_string(struct reading *reading)
{
	uint32_t id = owners_string(reading->job->owners, reading->text->str, reading->text->len);

	g_array_append_val(reading->strings, id);
	g_string_truncate(reading->text, 0);
}

/* Returns false with error, or without one at the end. */
static bool take(struct reading *reading, struct wire_message *message, GError **error)
{
	switch ((enum wire_type)message->type) {
	case WIRE_TEXT:
		g_string_append_len(reading->text, message->u.piece,
				    MIN(message->bytes, WIRE_PIECE));
		return true;
	case WIRE_STRING:
		take_string(reading);
		return true;
	case WIRE_TASK:
		owners_task(reading->job->owners, message->id, reading->text->str,
			    reading->text->len);
		g_string_truncate(reading->text, 0);
		return true;
	case WIRE_LOST:
		return owners_lost(reading->job->owners, &message->u.raw, message->number, error);
	case WIRE_EVENT:
		return take_event(reading, message, error);
	case WIRE_MALFORMED:
		return take_malformed(reading, message, error);
	case WIRE_FAILED:
		reading->offset = message->number;
		return broken(reading, reading->text->str, error);
	case WIRE_END:
	case WIRE_NONE:
		break;
	}
	return false;
}

/* Waits for the next batch. Returns 1 with how many messages it holds, 0 at the end, -1 with error.
 */
static int receive(struct reading *reading, uint32_t *messages, GError **error)
{
	struct pollfd waiting = { reading->filled, POLLIN, 0 };
	int ready;

	do
		ready = poll(&waiting, 1, reading->patience_ms);
	while (ready < 0 && errno == EINTR);
	if (ready == 0) {
		broken(reading, "damaged: its reader got stuck", error);
		return -1;
	}
	ssize_t got = read(reading->filled, messages, sizeof *messages);
	if (got >= 0)
		return got == sizeof *messages && *messages <= WIRE_BATCH_MESSAGES;
	system_error(error, "read a pipe");
	return -1;
}

/* Several at once: each time wakes the process up. */
static void give_credits(const struct reading *reading)
{
	static const char credits[WIRE_CREDITS];

	while (write(reading->credit, credits, sizeof credits) < 0 && errno == EINTR)
		;
}

static bool take_all(struct reading *reading, GError **error)
{
	for (uint64_t batch = 0;; batch++) {
		struct wire_message *message = reading->shared->batch[batch % WIRE_BATCHES];
		uint32_t messages;
		int got = receive(reading, &messages, error);

		if (got <= 0)
			return got == 0 ? died(reading, error) : false;
		for (const struct wire_message *end = message + messages; message < end;
		     message++) {
			if (message->type == WIRE_END)
				return true;
			if (!take(reading, message, error))
				return false;
		}
		if (batch % WIRE_CREDITS == WIRE_CREDITS - 1)
			give_credits(reading);
	}
}

bool wire_run(struct import_job *job, const struct wire_input *input,
	      void (*read)(const struct wire_input *input, struct wire_end end), GError **error)
{
	struct reading reading = {
		.job = job, .filled = -1, .credit = -1, .credit_read = -1, .chatter = -1
	};

	reading.text = g_string_new(NULL);
	reading.strings = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	bool done = start(&reading, input, read, error) && take_all(&reading, error);
	if (done && owners_taken(job->owners) == 0)
		done = broken(&reading, "no event in the whole file", error);
	stop(&reading);
	return done;
}
