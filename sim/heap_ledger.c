#include "sim/heap_ledger.h"

#include <string.h>

#include "sim/random.h"
#include "sim/sparse.h"

#define GRANULE_SHIFT 3
#define WORD_BYTES    (8u << GRANULE_SHIFT << 3) /* of memory that one 64-bit word tells about */

struct heap_ledger {
	const struct ledger *frames;
	uint32_t owner;
	uint64_t map_bytes, bits_bytes;
	uint64_t *bits;
	struct heap_object *object;
	uint64_t handles;
	GArray *sites;
	GHashTable *site_index; /* struct site_key * -> 1 + index */
	struct heap_size size[HEAP_SIZE_ORDERS];
	struct heap_totals totals;
	uint64_t operations, stride; /* a point every so many */
	unsigned points;
	struct heap_point point[HEAP_POINTS];
};

struct site_key {
	uint64_t address;
	uint64_t cache;
};

const char *heap_verdict_name(enum heap_verdict verdict)
{
	static const char *const names[] = { "ok", "too-small", "misaligned", "out-of-heap",
					     "overlap" };

	return names[verdict];
}

static guint site_hash(gconstpointer key)
{
	const struct site_key *k = key;

	return (guint)random_mix(k->address ^ k->cache << 48);
}

static gboolean site_equal(gconstpointer a, gconstpointer b)
{
	return memcmp(a, b, sizeof(struct site_key)) == 0;
}

struct heap_ledger *heap_ledger_new(uint64_t handles, uint64_t map_bytes,
				    const struct ledger *frames, uint32_t owner)
{
	struct heap_ledger *ledger = g_new0(struct heap_ledger, 1);

	ledger->frames = frames;
	ledger->owner = owner;
	ledger->map_bytes = map_bytes;
	ledger->bits_bytes = (map_bytes / WORD_BYTES + 2) * sizeof(uint64_t);
	ledger->bits = sparse_new(ledger->bits_bytes);
	ledger->handles = handles;
	ledger->stride = 1;
	ledger->object = g_try_new(struct heap_object, handles + 1);
	ledger->sites = g_array_new(FALSE, TRUE, sizeof(struct heap_site));
	ledger->site_index = g_hash_table_new_full(site_hash, site_equal, g_free, NULL);
	if (!ledger->bits || !ledger->object) {
		heap_ledger_free(ledger);
		return NULL;
	}
	memset(ledger->object, 0, (handles + 1) * sizeof(*ledger->object));
	return ledger;
}

void heap_ledger_free(struct heap_ledger *ledger)
{
	if (!ledger)
		return;
	sparse_free(ledger->bits, ledger->bits_bytes);
	g_free(ledger->object);
	g_array_unref(ledger->sites);
	g_hash_table_unref(ledger->site_index);
	g_free(ledger);
}

struct heap_object *heap_ledger_object(struct heap_ledger *ledger, uint64_t handle)
{
	return handle > 0 && handle < ledger->handles ? &ledger->object[handle] : NULL;
}

uint32_t heap_ledger_site(struct heap_ledger *ledger, uint64_t address, uint32_t cache)
{
	struct site_key key = { address, cache };
	gpointer known = g_hash_table_lookup(ledger->site_index, &key);

	if (!known) {
		struct heap_site fresh = { .address = address, .cache = cache };
		g_array_append_val(ledger->sites, fresh);
		known = GUINT_TO_POINTER(ledger->sites->len);
		g_hash_table_insert(ledger->site_index, g_memdup2(&key, sizeof(key)), known);
	}
	return GPOINTER_TO_UINT(known) - 1;
}

const GArray *heap_ledger_sites(const struct heap_ledger *ledger)
{
	return ledger->sites;
}

const struct heap_size *heap_ledger_sizes(const struct heap_ledger *ledger)
{
	return ledger->size;
}

const struct heap_totals *heap_ledger_totals(const struct heap_ledger *ledger)
{
	return &ledger->totals;
}

/* ---- the bits ---- */

static uint64_t mask(uint64_t first, uint64_t end)
{
	return (end - first == 64 ? ~0ull : (1ull << (end - first)) - 1) << first;
}

/* Calls for each word of [offset, offset + bytes) are what take, release and judging share. */
static bool any_bit(const struct heap_ledger *ledger, uint64_t offset, uint64_t bytes)
{
	uint64_t at = offset >> GRANULE_SHIFT, end = (offset + bytes + 7) >> GRANULE_SHIFT;

	while (at < end) {
		uint64_t stop = MIN(end, (at | 63) + 1);
		if (ledger->bits[at / 64] & mask(at % 64, stop - (at & ~63ull)))
			return true;
		at = stop;
	}
	return false;
}

bool heap_ledger_covers(const struct heap_ledger *ledger, uint64_t offset, uint64_t bytes)
{
	return offset < ledger->map_bytes && bytes <= ledger->map_bytes - offset &&
	       any_bit(ledger, offset, bytes);
}

static void set_bits(struct heap_ledger *ledger, uint64_t offset, uint64_t bytes, bool set)
{
	uint64_t at = offset >> GRANULE_SHIFT, end = (offset + bytes + 7) >> GRANULE_SHIFT;

	while (at < end) {
		uint64_t stop = MIN(end, (at | 63) + 1);
		uint64_t bits = mask(at % 64, stop - (at & ~63ull));
		uint64_t *word = &ledger->bits[at / 64];
		*word = set ? *word | bits : *word & ~bits;
		at = stop;
	}
}

/* ---- judging ---- */

static bool in_heap(const struct heap_ledger *ledger, uint64_t offset, uint64_t bytes)
{
	if (offset >= ledger->map_bytes || bytes > ledger->map_bytes - offset)
		return false;
	for (uint64_t frame = offset >> 12; frame <= (offset + bytes - 1) >> 12; frame++)
		if (ledger_owner(ledger->frames, frame) != ledger->owner)
			return false;
	return true;
}

static enum heap_verdict judge(const struct heap_ledger *ledger, uint64_t offset, uint64_t bytes,
			       uint64_t usable, uint64_t align_bytes)
{
	if (usable < bytes || usable == 0)
		return HEAP_VERDICT_TOO_SMALL;
	if (offset & (align_bytes - 1))
		return HEAP_VERDICT_MISALIGNED;
	if (!in_heap(ledger, offset, usable))
		return HEAP_VERDICT_OUT_OF_HEAP;
	return any_bit(ledger, offset, usable) ? HEAP_VERDICT_OVERLAP : HEAP_VERDICT_OK;
}

static unsigned order_of(uint64_t bytes)
{
	unsigned order = bytes <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(bytes - 1);

	return MIN(order, HEAP_SIZE_ORDERS - 1);
}

static struct heap_site *site_of(struct heap_ledger *ledger, uint32_t site)
{
	return &g_array_index(ledger->sites, struct heap_site, site);
}

/* ---- the books ---- */

static void count_live(struct heap_ledger *ledger, const struct heap_object *o, int sign)
{
	struct heap_site *site = site_of(ledger, o->site);
	uint64_t objects = (uint64_t)(int64_t)sign;

	site->live_objects += objects;
	site->live_bytes += objects * o->bytes;
	site->peak_bytes = MAX(site->peak_bytes, site->live_bytes);
	ledger->size[order_of(o->bytes)].live_objects += objects;
	ledger->totals.live_objects += objects;
	ledger->totals.live_bytes += objects * o->bytes;
	ledger->totals.usable_bytes += objects * o->usable;
}

static void count_handed(struct heap_ledger *ledger, const struct heap_object *o)
{
	struct heap_site *site = site_of(ledger, o->site);
	struct heap_size *size = &ledger->size[order_of(o->bytes)];

	site->requested_bytes += o->bytes;
	site->usable_bytes += o->usable;
	size->requested_bytes += o->bytes;
	size->usable_bytes += o->usable;
	struct heap_totals *t = &ledger->totals;
	t->requested_bytes += o->bytes;
	t->handed_bytes += o->usable;
	t->most_bytes = MAX(t->most_bytes, o->bytes);
	t->least_bytes = t->least_bytes ? MIN(t->least_bytes, o->bytes) : o->bytes;
}

enum heap_verdict heap_ledger_take(struct heap_ledger *ledger, uint64_t handle,
				   const struct heap_object *object, uint64_t align_bytes)
{
	enum heap_verdict verdict =
		judge(ledger, object->offset, object->bytes, object->usable, align_bytes);

	if (verdict != HEAP_VERDICT_OK)
		return verdict;
	ledger->object[handle] = *object;
	ledger->object[handle].state = HEAP_OBJECT_LIVE;
	set_bits(ledger, object->offset, object->usable, true);
	site_of(ledger, object->site)->allocs++;
	ledger->size[order_of(object->bytes)].allocs++;
	ledger->totals.allocs++;
	count_handed(ledger, object);
	count_live(ledger, object, 1);
	return HEAP_VERDICT_OK;
}

void heap_ledger_release(struct heap_ledger *ledger, uint64_t handle, unsigned cpu)
{
	struct heap_object *o = &ledger->object[handle];
	struct heap_site *site = site_of(ledger, o->site);

	set_bits(ledger, o->offset, o->usable, false);
	count_live(ledger, o, -1);
	site->frees++;
	site->moved_cpu += o->cpu != cpu;
	ledger->totals.frees++;
	ledger->totals.moved_cpu += o->cpu != cpu;
	o->state = HEAP_OBJECT_NONE;
}

void heap_ledger_lift(struct heap_ledger *ledger, uint64_t handle)
{
	struct heap_object *o = &ledger->object[handle];

	set_bits(ledger, o->offset, o->usable, false);
	count_live(ledger, o, -1);
}

enum heap_verdict heap_ledger_place(struct heap_ledger *ledger, uint64_t handle, uint64_t offset,
				    uint64_t bytes, uint64_t usable, uint64_t align_bytes)
{
	struct heap_object *o = &ledger->object[handle];
	enum heap_verdict verdict = judge(ledger, offset, bytes, usable, align_bytes);

	if (verdict != HEAP_VERDICT_OK) {
		o->state = HEAP_OBJECT_FAILED;
		return verdict;
	}
	bool same = bytes == o->bytes && offset == o->offset;
	o->offset = offset;
	o->bytes = bytes;
	o->usable = usable;
	set_bits(ledger, offset, usable, true);
	count_live(ledger, o, 1);
	if (!same)
		count_handed(ledger, o);
	return HEAP_VERDICT_OK;
}

void heap_ledger_failed(struct heap_ledger *ledger, uint32_t site, uint64_t bytes)
{
	site_of(ledger, site)->failures++;
	ledger->size[order_of(bytes)].failures++;
}

void heap_ledger_held(struct heap_ledger *ledger, int64_t frames)
{
	ledger->totals.held_frames += (uint64_t)frames;
}

static struct heap_point point_now(const struct heap_ledger *ledger)
{
	return (struct heap_point){ ledger->operations, ledger->totals.live_bytes,
				    ledger->totals.held_frames };
}

/* When there are too many points every second one goes: distances stay equal. */
static void note_point(struct heap_ledger *ledger)
{
	if (++ledger->operations % ledger->stride)
		return;
	if (ledger->points == HEAP_POINTS) {
		ledger->points /= 2;
		for (unsigned i = 0; i < ledger->points; i++)
			ledger->point[i] = ledger->point[2 * i + 1];
		ledger->stride *= 2;
		if (ledger->operations % ledger->stride)
			return;
	}
	ledger->point[ledger->points++] = point_now(ledger);
}

GArray *heap_ledger_points(const struct heap_ledger *ledger)
{
	GArray *points = g_array_new(FALSE, FALSE, sizeof(struct heap_point));
	struct heap_point last = point_now(ledger);

	g_array_append_vals(points, ledger->point, ledger->points);
	if (last.operation % ledger->stride)
		g_array_append_val(points, last);
	return points;
}

void heap_ledger_tick(struct heap_ledger *ledger)
{
	struct heap_totals *t = &ledger->totals;
	uint64_t held = t->held_frames << 12;

	note_point(ledger);
	if (t->live_bytes > t->peak_live_bytes) {
		t->peak_live_bytes = t->live_bytes;
		t->held_at_peak_live = held;
	}
	if (held > t->peak_held_bytes) {
		t->peak_held_bytes = held;
		t->live_at_peak_held = t->live_bytes;
	}
	if (t->live_bytes) {
		t->ratio_sum += (double)held / (double)t->live_bytes;
		t->ratio_count++;
	}
}

/* ---- contents ---- */

static uint64_t contents_word(uint64_t handle, uint64_t index)
{
	return (handle + 1) * 0x9e3779b97f4a7c15ull + index * 0xd1342543de82ef95ull;
}

void heap_contents_write(void *object, uint64_t handle, uint64_t from, uint64_t bytes)
{
	uint8_t *at = object;

	for (uint64_t i = from & ~7ull; i < bytes; i += 8) {
		uint64_t word = contents_word(handle, i / 8);
		memcpy(at + i, &word, MIN(8, bytes - i));
	}
}

uint64_t heap_contents_verify(const void *object, uint64_t handle, uint64_t bytes)
{
	const uint8_t *at = object;

	for (uint64_t i = 0; i < bytes; i += 8) {
		uint64_t word = contents_word(handle, i / 8);
		if (memcmp(at + i, &word, MIN(8, bytes - i)) == 0)
			continue;
		while (at[i] == ((const uint8_t *)&word)[i % 8])
			i++;
		return i;
	}
	return UINT64_MAX;
}
