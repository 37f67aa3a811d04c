/* Red zones, poison, and what the heap loads and stores in objects: heap_guard.h says what is
 * judged. */
#include <inttypes.h>
#include <string.h>

#include "sim/lab.h"
#include "sim/session.h"
#include "sim/source_line.h"
#include "sim/sparse.h"

#define ZONE_BYTE     0xccu
#define POISON_BYTE   0x6bu
#define ZONE_MIN      16u
#define GRANULE_SHIFT 3
#define BITS	      64u

struct guarded {
	uint64_t freed_at; /* 1 + the event; 0: not yet */
	uint64_t front;	   /* bytes before the object */
};

struct session_guard {
	unsigned how;
	uint64_t handles, map_bytes, bits_bytes;
	struct guarded *object; /* by handle */
	uint64_t *dead;		/* a bit for 8 bytes: poisoned, and not stored to since */
	GHashTable *seen;	/* source lines that were reported */
	struct probe_observer observer;
};

static unsigned guards(const struct session *session, unsigned how)
{
	return session->guard ? session->guard->how & how : 0;
}

/* ---- the bits of what is dead ---- */

static void set_dead(struct session_guard *guard, uint64_t offset, uint64_t bytes, bool dead)
{
	uint64_t end =
		dead ? (offset + bytes) >> GRANULE_SHIFT : (offset + bytes + 7) >> GRANULE_SHIFT;

	for (uint64_t at = offset >> GRANULE_SHIFT; at < end;) {
		uint64_t *word = &guard->dead[at / BITS];
		if (at % BITS == 0 && end - at >= BITS) {
			*word = dead ? ~0ull : 0;
			at += BITS;
			continue;
		}
		uint64_t bit = 1ull << at % BITS;
		*word = dead ? *word | bit : *word & ~bit;
		at++;
	}
}

static bool is_dead(const struct session_guard *guard, uint64_t granule)
{
	return guard->dead[granule / BITS] >> granule % BITS & 1;
}

/* ---- words ---- */

/* Where an object came from, and where it went. */
static char *story_of(const struct session *session, uint64_t handle)
{
	const struct heap_object *object = heap_ledger_object(session->heap->ledger, handle);
	const GArray *sites = heap_ledger_sites(session->heap->ledger);
	const struct heap_site *site = &g_array_index(sites, struct heap_site, object->site);
	const char *cache = trace_reader_string(session->reader, site->cache);
	uint64_t freed = session->guard ? session->guard->object[handle].freed_at : 0;
	GString *text = g_string_new(NULL);

	g_string_append_printf(text,
			       "object of %" PRIu64 " bytes, handle %" PRIu64
			       ", allocated at call site 0x%" PRIx64,
			       object->bytes, handle, site->address);
	if (cache && *cache)
		g_string_append_printf(text, " from %s", cache);
	if (object->state != HEAP_OBJECT_LIVE && freed)
		g_string_append_printf(text, ", freed at event %" PRIu64, freed - 1);
	return g_string_free(text, FALSE);
}

char *session_object_story(const struct session *session, uint64_t offset, bool live)
{
	struct heap_ledger *ledger = session->heap->ledger;
	const struct heap_object *object;
	uint64_t best = 0, latest = 0;

	for (uint64_t handle = 1; (object = heap_ledger_object(ledger, handle)); handle++) {
		uint64_t freed = session->guard ? session->guard->object[handle].freed_at : 0;
		if (object->usable == 0 || offset - object->offset >= object->usable ||
		    live != (object->state == HEAP_OBJECT_LIVE) || (best && freed < latest))
			continue;
		best = handle;
		latest = freed;
	}
	if (!best)
		return g_strdup("memory that no object had");
	char *story = story_of(session, best), *text;
	object = heap_ledger_object(ledger, best);
	int64_t at = (int64_t)(offset - object->offset);
	if (session->guard)
		at -= (int64_t)session->guard->object[best].front;
	text = g_strdup_printf("byte %" PRId64 " of the %s", at, story);
	g_free(story);
	return text;
}

/* ---- red zones ---- */

static uint64_t front_for(uint64_t align)
{
	return align > FRAME_BYTES ? 0 : MAX(align, ZONE_MIN);
}

uint64_t session_guard_widen(const struct session *session, uint64_t handle, bool fresh,
			     struct heap_request *request)
{
	uint64_t align = MAX(request->align_bytes, HEAP_ALIGN_DEFAULT);
	uint64_t front;

	if (!guards(session, HEAP_GUARD_REDZONE))
		return 0;
	front = fresh ? front_for(align) : session->guard->object[handle].front;
	/* A new alignment of an object that had another one. */
	if (front & (align - 1))
		front = align;
	request->bytes += front + ZONE_MIN;
	return front;
}

uint64_t session_guard_cache_bytes(const struct session *session, uint64_t bytes, uint64_t align)
{
	struct heap_request request = { .bytes = bytes, .align_bytes = (uint32_t)align };

	session_guard_widen(session, 0, true, &request);
	return request.bytes;
}

uint64_t session_guard_front(const struct session *session, uint64_t handle)
{
	return session->guard ? session->guard->object[handle].front : 0;
}

static void report_zone(struct session *session, uint64_t handle, const struct heap_object *object,
			int64_t at, uint8_t byte)
{
	char *story = story_of(session, handle);

	if (at < 0)
		session_object_violation(session, "redzone", object->offset,
					 "%" PRId64 " bytes before its beginning 0x%02x stands in "
					 "the red zone: %s",
					 -at, byte, story);
	else
		session_object_violation(session, "redzone", object->offset,
					 "%" PRIu64 " bytes behind its end 0x%02x stands in the "
					 "red zone: %s",
					 (uint64_t)at - object->bytes, byte, story);
	g_free(story);
}

/* [from, end) of what was handed out; the object's byte 0 is at FRONT. */
static bool zone_holds(struct session *session, uint64_t handle, const struct heap_object *object,
		       uint64_t front, uint64_t from, uint64_t end)
{
	const uint8_t *bytes = session_pointer(session, object->offset);

	for (uint64_t i = from; i < end; i++)
		if (bytes[i] != ZONE_BYTE) {
			report_zone(session, handle, object, (int64_t)i - (int64_t)front, bytes[i]);
			return false;
		}
	return true;
}

void session_guard_verify(struct session *session, uint64_t handle,
			  const struct heap_object *object)
{
	if (!guards(session, HEAP_GUARD_REDZONE))
		return;
	uint64_t front = session->guard->object[handle].front;
	if (zone_holds(session, handle, object, front, 0, front))
		zone_holds(session, handle, object, front, front + object->bytes, object->usable);
}

/* ---- poison ---- */

static bool stores_are_known(const struct session *session)
{
	return session->pass == PASS_PROBED ||
	       (session->heap->heap.ops->caps & HEAP_CAP_OUT_OF_BAND);
}

/* What nobody stored to since its owner died. */
static void verify_poison(struct session *session, const struct heap_object *object)
{
	const uint8_t *bytes = session_pointer(session, object->offset);

	for (uint64_t i = 0; i + 8 <= object->usable; i++) {
		uint64_t at = object->offset + i;
		if (!is_dead(session->guard, at >> GRANULE_SHIFT) || bytes[i] == POISON_BYTE)
			continue;
		char *story = session_object_story(session, at, false);
		session_object_violation(session, "poison", object->offset,
					 "0x%02x was written after the free into %s", bytes[i],
					 story);
		g_free(story);
		return;
	}
}

void session_guard_born(struct session *session, uint64_t handle, uint64_t front, bool moved)
{
	const struct heap_object *object = heap_ledger_object(session->heap->ledger, handle);
	struct session_guard *guard = session->guard;

	if (!guard)
		return;
	if (!moved && guards(session, HEAP_GUARD_POISON) && stores_are_known(session))
		verify_poison(session, object);
	set_dead(guard, object->offset, object->usable, false);
	guard->object[handle] = (struct guarded){ 0, front };
	if (!guards(session, HEAP_GUARD_REDZONE))
		return;
	uint8_t *bytes = session_pointer(session, object->offset);
	memset(bytes, ZONE_BYTE, front);
	memset(bytes + front + object->bytes, ZONE_BYTE, object->usable - front - object->bytes);
}

/* ---- frees ---- */

static void try_misuse(struct session *session, uint64_t offset, const char *what)
{
	if (session_heap_free_at(session, offset) != KERR_NOT_OWNED)
		session_object_violation(session, "misuse", offset, "%s is not refused", what);
}

bool session_guard_freeing(struct session *session, uint64_t handle,
			   const struct heap_object *object)
{
	struct session_guard *guard = session->guard;
	uint64_t before;

	if (!guard)
		return true;
	guard->object[handle].freed_at = session->event + 1;
	if (guards(session, HEAP_GUARD_MISUSE) &&
	    (session->heap->heap.ops->caps & HEAP_CAP_FINDS_MISUSE) && object->usable >= 16) {
		before = session->result->violations;
		try_misuse(session, object->offset + 8, "a free of an address inside of an object");
		if (session->result->violations != before)
			return false;
	}
	if (guards(session, HEAP_GUARD_POISON))
		memset(session_pointer(session, object->offset), POISON_BYTE, object->usable);
	if (guards(session, HEAP_GUARD_POISON | HEAP_GUARD_ACCESS))
		set_dead(guard, object->offset, object->usable, true);
	return true;
}

void session_guard_freed(struct session *session, uint64_t offset)
{
	const struct heap *heap = &session->heap->heap;

	if (!guards(session, HEAP_GUARD_MISUSE) || !(heap->ops->caps & HEAP_CAP_FINDS_MISUSE))
		return;
	try_misuse(session, offset, "a second free");
	try_misuse(session, session->heap->state.first.n * FRAME_BYTES,
		   "a free of what was never allocated");
}

void session_guard_frames(struct session *session, const struct frame_block *block)
{
	if (session->guard)
		set_dead(session->guard, block->first.n * FRAME_BYTES,
			 (uint64_t)block->frames * FRAME_BYTES, false);
}

/* ---- loads and stores of the heap ---- */

static void report_access(struct session *session, const char *kind, uint64_t offset, bool live,
			  unsigned access, unsigned bytes, const void *caller)
{
	if (!g_hash_table_add(session->guard->seen, (gpointer)(uintptr_t)caller))
		return;
	char *place = source_line((const char *)caller - 1);
	char *story = session_object_story(session, offset, live);
	session_object_violation(session, kind, offset, "%s of %u bytes at %s, by %s",
				 access == MMU_READ    ? "load"
				 : access == MMU_WRITE ? "store"
						       : "atomic",
				 bytes, story, place);
	g_free(story);
	g_free(place);
}

static bool any_dead(const struct session_guard *guard, uint64_t offset, unsigned bytes)
{
	return is_dead(guard, offset >> GRANULE_SHIFT) ||
	       is_dead(guard, (offset + bytes - 1) >> GRANULE_SHIFT);
}

/* A probe_observer's. */
static void on_access(void *context, const void *pointer, unsigned kind, unsigned bytes,
		      const void *caller)
{
	struct session *session = context;
	struct session_guard *guard = session->guard;
	uint64_t offset = session_offset(session, pointer);
	unsigned caps = session->heap->heap.ops->caps;
	bool scans = (caps & HEAP_CAP_COLLECTS) && kind == MMU_READ;
	/* A free object is not its to write, unless to hand it out as the copy of another one. */
	bool keeps_out = (caps & HEAP_CAP_OUT_OF_BAND) && !session->heap->moving;

	if (!probe_in_heap() || offset >= guard->map_bytes - bytes)
		return;
	if ((guard->how & HEAP_GUARD_ACCESS) && !scans) {
		if (heap_ledger_covers(session->heap->ledger, offset, bytes))
			report_access(session, "object-touched", offset, true, kind, bytes, caller);
		else if ((kind != MMU_WRITE || keeps_out) && any_dead(guard, offset, bytes))
			report_access(session, "use-after-free", offset, false, kind, bytes,
				      caller);
	}
	if (kind != MMU_READ && !keeps_out)
		set_dead(guard, offset, bytes, false);
}

/* ---- set-up ---- */

bool session_guard_new(struct session *session, uint64_t handles, GError **error)
{
	unsigned how = session->config->guard;

	if (!how)
		return true;
	struct session_guard *guard = session->guard = g_new0(struct session_guard, 1);
	guard->how = how;
	guard->handles = handles;
	guard->map_bytes = session->machine->boot.map.end.n * FRAME_BYTES;
	guard->bits_bytes = ((guard->map_bytes >> GRANULE_SHIFT) / BITS + 2) * sizeof(uint64_t);
	guard->dead = sparse_new(guard->bits_bytes);
	guard->object = sparse_new((handles + 1) * sizeof(struct guarded));
	guard->seen = g_hash_table_new(NULL, NULL);
	if (!guard->dead || !guard->object) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_LAB,
			    "lab error: no memory to guard objects");
		return false;
	}
	guard->observer = (struct probe_observer){ .access = on_access, .context = session };
	if (session->pass == PASS_PROBED && (how & (HEAP_GUARD_ACCESS | HEAP_GUARD_POISON)))
		probe_set_observer(&guard->observer);
	return true;
}

void session_guard_free(struct session *session)
{
	struct session_guard *guard = session->guard;

	if (!guard)
		return;
	sparse_free(guard->dead, guard->bits_bytes);
	sparse_free(guard->object, (guard->handles + 1) * sizeof(struct guarded));
	g_hash_table_unref(guard->seen);
	g_clear_pointer(&session->guard, g_free);
}
