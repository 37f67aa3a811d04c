#include "workloads/import/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "workloads/trace.h"

/* What fits in here, some 800,000 events, sees no file. */
#define BUFFER_BYTES ((size_t)32 << 20)
/* With a file: pieces that stay in the host's caches. */
#define PIECE_BYTES ((size_t)1 << 18)
/* So that the buffer begins with a large page; an event may hang over its end. */
#define LARGE_PAGE ((size_t)2 << 20)
#define MAP_BYTES  (BUFFER_BYTES + 2 * LARGE_PAGE)

struct spool {
	int fd;
	uint64_t events;
	size_t room;  /* bytes of the buffer to fill before the file is used */
	size_t used;  /* bytes in buffer */
	size_t taken; /* bytes of them read */
	bool ended;   /* the file is read to its end */
	void *map;
	unsigned char *buffer; /* BUFFER_BYTES and an event */
};

#define UP_TO(member) (offsetof(struct event, u.member) + sizeof(((struct event *)NULL)->u.member))

/* Bytes of struct event that a kind uses, 0: all. */
static const uint8_t used_bytes[UINT8_MAX + 1] = {
	[EVENT_FRAME_FREE] = UP_TO(frame.first_part),
	[EVENT_FRAME_ALLOC] = UP_TO(frame),
	[EVENT_FRAME_ALLOC_FAILED] = UP_TO(frame),
	[EVENT_SPAWN] = UP_TO(process),
	[EVENT_FORK] = UP_TO(process),
	[EVENT_EXEC] = UP_TO(process),
	[EVENT_EXIT] = UP_TO(process),
	[EVENT_TOUCH] = UP_TO(touch),
	[EVENT_MARKER] = UP_TO(marker),
	[EVENT_BUDDY_TAKE] = UP_TO(buddy),
	[EVENT_BUDDY_PUT] = UP_TO(buddy),
	[EVENT_BUDDY_ISOLATE] = UP_TO(buddy),
	[EVENT_BUDDY_FALLBACK] = UP_TO(buddy),
};

static size_t event_bytes(uint8_t kind)
{
	return used_bytes[kind] ? used_bytes[kind] : sizeof(struct event);
}

static bool io_error(GError **error, const char *what)
{
	trace_error_set(error, TRACE_ERROR_IO, "cannot %s a temporary file: %s", what,
			g_strerror(errno));
	return false;
}

static int open_unlinked_in(const char *folder)
{
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd;
	/* A file system without O_TMPFILE. */
	g_autofree char *path = g_build_filename(folder, ".kmemlab-XXXXXX", NULL);
	fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		unlink(path);
	return fd;
}

int spool_open_unlinked(const char *folder, GError **error)
{
	int fd = folder ? open_unlinked_in(folder) : -1;
	if (fd < 0)
		fd = open_unlinked_in(g_get_tmp_dir());
	if (fd < 0)
		io_error(error, "make");
	return fd;
}

struct spool *spool_new(const char *folder, GError **error)
{
	int fd = spool_open_unlinked(folder, error);
	if (fd < 0)
		return NULL;
	/* Pages come as they are filled, large ones if there are: most recordings fill few. */
	void *map =
		mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED) {
		io_error(error, "have memory beside");
		close(fd);
		return NULL;
	}
	madvise(map, MAP_BYTES, MADV_HUGEPAGE);
	struct spool *spool = g_new0(struct spool, 1);
	spool->fd = fd;
	spool->map = map;
	spool->buffer = (unsigned char *)map + (-(uintptr_t)map & (LARGE_PAGE - 1));
	spool->room = BUFFER_BYTES;
	return spool;
}

void spool_free(struct spool *spool)
{
	if (!spool)
		return;
	munmap(spool->map, MAP_BYTES);
	close(spool->fd);
	g_free(spool);
}

uint64_t spool_next(const struct spool *spool)
{
	return spool->events;
}

static bool flush(struct spool *spool, GError **error)
{
	for (size_t done = 0; done < spool->used;) {
		ssize_t wrote = write(spool->fd, spool->buffer + done, spool->used - done);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0)
			return io_error(error, "write");
		done += (size_t)wrote;
	}
	spool->used = 0;
	spool->room = PIECE_BYTES;
	return true;
}

bool spool_add(struct spool *spool, const struct event *event, GError **error)
{
	size_t bytes = event_bytes(event->kind);

	if (spool->used + bytes > spool->room && !flush(spool, error))
		return false;
	/* The whole, of constant size; what is behind the part in use is overwritten. */
	memcpy(spool->buffer + spool->used, event, sizeof *event);
	spool->used += bytes;
	spool->events++;
	return true;
}

bool spool_rewind(struct spool *spool, GError **error)
{
	spool->ended = spool->room == BUFFER_BYTES;
	if (spool->ended)
		return true;
	if (!flush(spool, error))
		return false;
	if (lseek(spool->fd, 0, SEEK_SET) < 0)
		return io_error(error, "rewind");
	spool->taken = 0;
	return true;
}

/* Makes at least one whole event available unless the file has ended. */
static bool fill(struct spool *spool, GError **error)
{
	memmove(spool->buffer, spool->buffer + spool->taken, spool->used - spool->taken);
	spool->used -= spool->taken;
	spool->taken = 0;
	while (!spool->ended && spool->used < sizeof(struct event)) {
		ssize_t got =
			read(spool->fd, spool->buffer + spool->used, PIECE_BYTES - spool->used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return io_error(error, "read");
		spool->ended = got == 0;
		spool->used += (size_t)got;
	}
	return true;
}

int spool_read(struct spool *spool, struct event *out, GError **error)
{
	if (spool->used - spool->taken < sizeof(struct event) && !spool->ended &&
	    !fill(spool, error))
		return -1;
	if (spool->taken == spool->used)
		return 0;

	size_t bytes = event_bytes(spool->buffer[spool->taken + offsetof(struct event, kind)]);
	memcpy(out, spool->buffer + spool->taken, sizeof *out);
	if (bytes < sizeof *out)
		memset((char *)out + bytes, 0, sizeof *out - bytes);
	spool->taken += bytes;
	return 1;
}
