#include "workloads/record/tracefs.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <tracefs.h>
#include <unistd.h>
#include "workloads/import/tracefs_raw.h"
#include "workloads/trace.h"

/* Linux documents its files in Documentation/trace/ftrace.rst. */

/* A reader that finds no full page waits so long: a read takes what there is, as a page of its own,
 * and to store it makes events. */
#define NAP_US 100000
/* A read of trace_pipe_raw gives a page, however large pages are. */
#define READ_BYTES 65536
/* Where a page says how much of it is used (ring_buffer.c, struct buffer_data_page). */
#define PAGE_HEAD_BYTES 16
#define PAGE_USED_MASK	0xfffff

struct follower {
	struct tracer *tracer;
	GThread *thread;
	int pages, out;
	int error; /* errno of what went wrong, 0 */
};

struct tracer {
	char *root;	   /* of tracefs */
	char *instance;	   /* folder of the buffer */
	bool own;	   /* made here */
	bool probes;	   /* kprobes were set */
	GPtrArray *events; /* "kmem/mm_page_alloc": switched on */
	GArray *followers; /* struct follower */
	gint stop;	   /* atomic */
	int marker;
};

static const char *const page_events[] = {
	"kmem/mm_page_alloc",	     "kmem/mm_page_free",
	"kmem/mm_page_free_batched", "kmem/mm_page_alloc_zone_locked",
	"kmem/mm_page_pcpu_drain",   "kmem/mm_page_alloc_extfrag",
	"sched/sched_process_fork",  "sched/sched_process_exec",
	"sched/sched_process_exit",  NULL,
};
static const char *const heap_events[] = {
	"kmem/kmalloc",
	"kmem/kfree",
	"kmem/kmem_cache_alloc",
	"kmem/kmem_cache_free",
	"kmem/kmalloc_node",
	"kmem/kmem_cache_alloc_node",
	NULL,
};
static const char *const fault_events[] = { "exceptions/page_fault_user", NULL };

/* Without it compaction's isolations are missing from the owners' story. Arguments of x86-64's
 * calling convention. */
static const char probes[] =
	"p:kmemlab/isolate_free_page __isolate_free_page page=%di:x64 "
	"order=%si:u32\n"
	"r:kmemlab/isolate_free_page_ret __isolate_free_page ret=$retval:u64\n";
static const char *const probe_events[] = { "kmemlab/isolate_free_page",
					    "kmemlab/isolate_free_page_ret", NULL };

/* ---- files ---- */

static bool fail(GError **error, const char *doing, const char *path)
{
	enum trace_error code =
		errno == EACCES || errno == EPERM ? TRACE_ERROR_USAGE : TRACE_ERROR_IO;

	return trace_error_set(error, code, "cannot %s %s: %s%s", doing, path, g_strerror(errno),
			       code == TRACE_ERROR_USAGE
				       ? " (recording a kernel needs root; scripts/record-guest.sh "
					 "records one in QEMU without)"
				       : "");
}

static bool put_in(const char *folder, const char *name, const char *text, int flags)
{
	g_autofree char *path = g_build_filename(folder, name, NULL);
	int file = open(path, O_WRONLY | O_CLOEXEC | flags);
	bool done = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);
	int reason = errno;

	if (file >= 0)
		close(file);
	errno = reason;
	return done;
}

static bool put(struct tracer *tracer, const char *name, const char *text, GError **error)
{
	g_autofree char *path = g_build_filename(tracer->instance, name, NULL);

	return put_in(tracer->instance, name, text, O_TRUNC) || fail(error, "write", path);
}

/* Files of /proc and tracefs have no size. */
static char *load(const char *folder, const char *name, gsize *bytes)
{
	g_autofree char *path = g_build_filename(folder, name, NULL);
	char *text = NULL;

	return g_file_get_contents(path, &text, bytes, NULL) ? text : NULL;
}

static bool copy_file(const char *from, const char *name, const char *to, GError **error)
{
	gsize bytes = 0;
	g_autofree char *text = load(from, name, &bytes);

	if (!text) {
		g_autofree char *path = g_build_filename(from, name, NULL);
		return fail(error, "read", path);
	}
	return g_file_set_contents(to, text, (gssize)bytes, error);
}

/* ---- setting up ---- */

static bool find_root(struct tracer *tracer, const char *chosen, GError **error)
{
	const char *found = chosen;

	if (!found && tracefs_tracing_dir_is_mounted(true, &found) < 0) {
		trace_error_set(error, geteuid() == 0 ? TRACE_ERROR_IO : TRACE_ERROR_USAGE,
				"no tracefs: %s",
				geteuid() == 0 ? "it cannot be mounted; this kernel was built "
						 "without tracing, or this machine forbids it"
					       : "it is not mounted, and only root can do that");
		return false;
	}
	tracer->root = g_strdup(found);
	g_autofree char *probe = g_build_filename(found, "events", "kmem", "mm_page_alloc", NULL);
	if (access(found, R_OK | X_OK) != 0)
		return fail(error, "read", found);
	if (access(probe, F_OK) == 0)
		return true;
	if (errno == EACCES)
		return fail(error, "read", probe);
	return trace_error_set(error, TRACE_ERROR_IO, "%s has no events/kmem/mm_page_alloc: %s",
			       found, "this kernel was built without it, or this is no tracefs");
}

static bool make_instance(struct tracer *tracer, const char *chosen, GError **error)
{
	g_autofree char *name =
		chosen ? g_strdup(chosen) : g_strdup_printf("kmemlab-%ld", (long)getpid());

	tracer->instance = g_build_filename(tracer->root, "instances", name, NULL);
	tracer->own = chosen == NULL;
	if (tracer->own && mkdir(tracer->instance, 0700) != 0) {
		tracer->own = false;
		return fail(error, "make", tracer->instance);
	}
	return access(tracer->instance, R_OK | X_OK) == 0 || fail(error, "read", tracer->instance);
}

static void set_probes(struct tracer *tracer)
{
	tracer->probes = put_in(tracer->root, "kprobe_events", probes, O_APPEND);
	if (!tracer->probes)
		g_message("no kprobe on __isolate_free_page: what compaction isolates will be "
			  "missing from the trace");
}

static bool switch_event(struct tracer *tracer, const char *event, bool on)
{
	g_autofree char *name = g_build_filename("events", event, "enable", NULL);

	return put_in(tracer->instance, name, on ? "1" : "0", O_TRUNC);
}

/* Events of other kernels than this one are passed over; it has one spelling of each. */
static void choose(struct tracer *tracer, const char *const *events)
{
	for (; *events; events++)
		if (switch_event(tracer, *events, true))
			g_ptr_array_add(tracer->events, g_strdup(*events));
}

static bool set_up(struct tracer *tracer, const struct record_options *options, GError **error)
{
	g_autofree char *kib = g_strdup_printf("%u", options->buffer_kib);

	/* The snapshots are timed by it too. */
	if (!put(tracer, "tracing_on", "0", error) || !put(tracer, "trace_clock", "mono", error) ||
	    !put(tracer, "buffer_size_kb", kib, error) || !put(tracer, "trace", "\n", error))
		return false;
	put_in(tracer->instance, "options/record-tgid", "0", O_TRUNC);
	put_in(tracer->root, "options/record-cmd", "1", O_TRUNC);
	set_probes(tracer);
	choose(tracer, page_events);
	if (tracer->probes)
		choose(tracer, probe_events);
	if (options->heap)
		choose(tracer, heap_events);
	if (options->faults)
		choose(tracer, fault_events);
	if (tracer->events->len == 0)
		return trace_error_set(error, TRACE_ERROR_IO, "%s: no event can be switched on",
				       tracer->instance);
	g_autofree char *marker = g_build_filename(tracer->instance, "trace_marker", NULL);
	tracer->marker = open(marker, O_WRONLY | O_CLOEXEC);
	return tracer->marker >= 0 || fail(error, "write", marker);
}

struct tracer *tracer_open(const struct record_options *options, GError **error)
{
	struct tracer *tracer = g_new0(struct tracer, 1);

	tracer->marker = -1;
	tracer->events = g_ptr_array_new_with_free_func(g_free);
	tracer->followers = g_array_new(FALSE, FALSE, sizeof(struct follower));
	if (find_root(tracer, options->tracefs, error) &&
	    make_instance(tracer, options->instance, error) && set_up(tracer, options, error))
		return tracer;
	tracer_free(tracer);
	return NULL;
}

static void end_followers(struct tracer *tracer)
{
	g_atomic_int_set(&tracer->stop, 1);
	for (guint i = 0; i < tracer->followers->len; i++) {
		struct follower *follower = &g_array_index(tracer->followers, struct follower, i);
		if (follower->thread)
			g_thread_join(g_steal_pointer(&follower->thread));
		if (follower->pages >= 0)
			close(follower->pages);
		if (follower->out >= 0)
			close(follower->out);
		follower->pages = follower->out = -1;
	}
}

void tracer_free(struct tracer *tracer)
{
	if (!tracer)
		return;
	end_followers(tracer);
	if (tracer->marker >= 0)
		close(tracer->marker);
	for (guint i = 0; i < tracer->events->len; i++)
		switch_event(tracer, tracer->events->pdata[i], false);
	if (tracer->own)
		rmdir(tracer->instance);
	if (tracer->probes)
		put_in(tracer->root, "kprobe_events",
		       "-:kmemlab/isolate_free_page\n-:kmemlab/isolate_free_page_ret\n", O_APPEND);
	g_ptr_array_unref(tracer->events);
	g_array_unref(tracer->followers);
	g_free(tracer->instance);
	g_free(tracer->root);
	g_free(tracer);
}

bool tracer_switch(struct tracer *tracer, bool on, GError **error)
{
	return put(tracer, "tracing_on", on ? "1" : "0", error);
}

void tracer_mark(struct tracer *tracer, const char *text)
{
	if (write(tracer->marker, text, strlen(text)) < 0)
		g_message("cannot write a marker: %s", g_strerror(errno));
}

/* ---- the pages ---- */

static bool write_all(int file, const char *bytes, size_t count)
{
	while (count > 0) {
		ssize_t done = write(file, bytes, count);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return false;
		bytes += done;
		count -= (size_t)done;
	}
	return true;
}

static bool is_full(const char *page, size_t bytes)
{
	uint64_t used;

	memcpy(&used, page + 8, sizeof used);
	return (used & PAGE_USED_MASK) + PAGE_HEAD_BYTES >= bytes - bytes / 8;
}

static gpointer follow(gpointer data)
{
	struct follower *follower = data;
	g_autofree char *buffer = g_malloc(READ_BYTES);

	for (;;) {
		/* What is there once it is off must all be read. */
		bool last = g_atomic_int_get(&follower->tracer->stop);
		ssize_t got = read(follower->pages, buffer, READ_BYTES);
		bool nothing = got == 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
		if (!nothing && (got < 0 || !write_all(follower->out, buffer, (size_t)got))) {
			follower->error = errno;
			break;
		}
		if (last && nothing)
			break;
		if (!last && (nothing || !is_full(buffer, (size_t)got)))
			g_usleep(NAP_US);
	}
	return NULL;
}

bool tracer_follow(struct tracer *tracer, const char *folder, GError **error)
{
	for (unsigned cpu = 0;; cpu++) {
		g_autofree char *from =
			g_strdup_printf("%s/per_cpu/cpu%u/trace_pipe_raw", tracer->instance, cpu);
		g_autofree char *to = g_strdup_printf("%s/cpu%u", folder, cpu);
		struct follower follower = { .tracer = tracer, .out = -1 };
		follower.pages = open(from, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (follower.pages < 0 && (errno != ENOENT || cpu == 0))
			return fail(error, "read", from);
		if (follower.pages < 0)
			break;
		follower.out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		g_array_append_val(tracer->followers, follower);
		if (follower.out < 0)
			return fail(error, "create", to);
	}
	/* The array stays where it is from here on. */
	for (guint i = 0; i < tracer->followers->len; i++) {
		struct follower *follower = &g_array_index(tracer->followers, struct follower, i);
		follower->thread = g_thread_new("follow", follow, follower);
	}
	return true;
}

/* ---- the end ---- */

/* "overrun: 12" and "dropped events: 0" of a CPU's statistics. */
static guint64 lost_on(struct tracer *tracer, unsigned cpu)
{
	static const char *const keys[] = { "overrun: ", "commit overrun: ", "dropped events: " };
	g_autofree char *name = g_strdup_printf("per_cpu/cpu%u/stats", cpu);
	g_autofree char *text = load(tracer->instance, name, NULL);
	guint64 lost = 0;

	for (char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL)
		for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
			if (g_str_has_prefix(line, keys[i]))
				lost += g_ascii_strtoull(line + strlen(keys[i]), NULL, 10);
	return lost;
}

static bool copy_format(struct tracer *tracer, const char *folder, const char *event,
			GError **error)
{
	g_autofree char *from = g_build_filename("events", event, "format", NULL);
	g_autofree char *name = g_strdelimit(g_strdup(event), "/", '.');
	g_autofree char *to = g_build_filename(folder, TRACEFS_RAW_FORMATS, name, NULL);

	return copy_file(tracer->root, from, to, error);
}

static bool copy_formats(struct tracer *tracer, const char *folder, GError **error)
{
	g_autofree char *formats = g_build_filename(folder, TRACEFS_RAW_FORMATS, NULL);
	g_autofree char *header = g_build_filename(folder, TRACEFS_RAW_HEADER, NULL);
	g_autofree char *names = g_build_filename(folder, TRACEFS_RAW_NAMES, NULL);

	if (g_mkdir_with_parents(formats, 0700) != 0)
		return fail(error, "make", formats);
	for (guint i = 0; i < tracer->events->len; i++)
		if (!copy_format(tracer, folder, tracer->events->pdata[i], error))
			return false;
	/* Names are a comfort. */
	copy_file(tracer->root, "saved_cmdlines", names, NULL);
	return copy_format(tracer, folder, "ftrace/print", error) &&
	       copy_file(tracer->root, "events/header_page", header, error);
}

bool tracer_collect(struct tracer *tracer, const char *folder, guint64 *lost, GError **error)
{
	*lost = 0;
	end_followers(tracer);
	for (guint i = 0; i < tracer->followers->len; i++) {
		errno = g_array_index(tracer->followers, struct follower, i).error;
		if (errno)
			return fail(error, "copy the events of a CPU to", folder);
		*lost += lost_on(tracer, i);
	}
	return copy_formats(tracer, folder, error);
}
