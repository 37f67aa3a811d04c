#include "workloads/tools/tools.h"

#include <string.h>
#include "workloads/tools/copy.h"

enum { KEY_BYTES = 32, DIGEST_BYTES = 32 };

struct key {
	guchar bytes[KEY_BYTES];
};

static void make_key(struct key *key, const char *text)
{
	if (!text) {
		for (size_t i = 0; i < KEY_BYTES; i += sizeof(guint32)) {
			guint32 random = g_random_int();
			memcpy(key->bytes + i, &random, sizeof random);
		}
		return;
	}
	g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
	gsize bytes = KEY_BYTES;
	g_checksum_update(sum, (const guchar *)text, -1);
	g_checksum_get_digest(sum, key->bytes, &bytes);
}

/* The first 64 bits of the keyed hash. */
static uint64_t hash(const struct key *key, char what, const void *data, size_t bytes)
{
	g_autoptr(GHmac) hmac = g_hmac_new(G_CHECKSUM_SHA256, key->bytes, KEY_BYTES);
	guint8 digest[DIGEST_BYTES];
	gsize room = sizeof digest;
	uint64_t value;

	g_hmac_update(hmac, (const guchar *)&what, 1);
	g_hmac_update(hmac, data, (gssize)bytes);
	g_hmac_get_digest(hmac, digest, &room);
	memcpy(&value, digest, sizeof value);
	return GUINT64_FROM_LE(value);
}

static char *rename_text(void *data, enum copy_text what, const char *text)
{
	static const char *const prefixes[] = { [COPY_NAME] = "task",
						[COPY_MARKER] = "marker",
						[COPY_CACHE] = "cache",
						[COPY_SITE] = "site" };

	if (what == COPY_NOTE)
		return NULL;
	return g_strdup_printf("%s-%012" G_GINT64_MODIFIER "x", prefixes[what],
			       hash(data, 't', text, strlen(text)) >> 16);
}

/* An address stays one: of a kernel's half of the address space, so that it is no name either. */
static uint64_t rename_site(const struct key *key, uint64_t site)
{
	return hash(key, 's', &site, sizeof site) | UINT64_C(1) << 63;
}

static void rename_event(const struct key *key, struct event *event)
{
	if (event->kind >= EVENT_HEAP_ALLOC && event->kind <= EVENT_HEAP_ALLOC_FAILED &&
	    event->u.heap.site > INT32_MAX)
		event->u.heap.site = rename_site(key, event->u.heap.site);
	if (event->kind == EVENT_TOUCH && event->u.touch.ip != 0)
		event->u.touch.ip = rename_site(key, event->u.touch.ip);
}

static bool copy_all(struct copy *copy, const struct key *key, GError **error)
{
	struct event event;
	int got;

	while ((got = trace_reader_next_start(copy->reader, &event, error)) > 0) {
		rename_event(key, &event);
		if (!copy_start(copy, event, error))
			return false;
	}
	while (got == 0 && (got = trace_reader_next(copy->reader, &event, error)) > 0) {
		rename_event(key, &event);
		if (!copy_event(copy, event, error))
			return false;
		got = 0;
	}
	copy_tasks(copy, 0);
	return got == 0;
}

static struct trace_meta *nameless_meta(const struct copy *copy)
{
	struct trace_meta *meta = copy_meta(copy);

	g_free(meta->source);
	meta->source = g_strdup("anonymised");
	g_clear_pointer(&meta->source_xxh128, g_free);
	g_clear_pointer(&meta->source_sha256, g_free);
	g_clear_pointer(&meta->command, g_free);
	g_clear_pointer(&meta->cut, g_free);
	return meta;
}

bool trace_anonymise(const char *input, const char *output, const char *key_text, GError **error)
{
	struct trace_reader *reader = trace_reader_open(input, error);
	struct trace_writer *writer = reader ? trace_writer_new(output, error) : NULL;
	struct copy copy = { 0 };
	struct key key;
	bool done = false;

	make_key(&key, key_text);
	if (writer && copy_init(&copy, reader, writer, error)) {
		copy.rename = rename_text;
		copy.data = &key;
		copy.no_attachments = true;
		done = copy_all(&copy, &key, error);
	}
	if (done) {
		struct trace_meta *meta = nameless_meta(&copy);
		done = trace_writer_finish(writer, meta, error);
		trace_meta_free(meta);
	} else {
		trace_writer_abort(writer);
	}
	copy_fini(&copy);
	trace_reader_free(reader);
	return done;
}
