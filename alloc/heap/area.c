#include "alloc/heap/area.h"

#include "alloc/heap/systems.h"
#include "alloc/port.h"

#define NOWHERE UINT64_MAX

enum word_kind {
	WORD_HEAD = 1,
	WORD_BODY = 2,
	WORD_GUARD = 3,
	WORD_FREED = 4, /* added to one of the above */
	WORD_KIND = 7,
};

#define OFFSET_SHIFT 4u
#define SLACK_SHIFT  16u
#define PAGES_SHIFT  28u
#define VALUE_SHIFT  4u
#define SEAL_SHIFT   36u
#define IN_PAGE	     ((uint64_t)X86_PAGE_BYTES - 1)

/* A head word in words. */
struct area {
	uint64_t first; /* page */
	uint64_t pages; /* with the guard page */
	uint64_t offset, slack;
	bool freed;
};

static uint64_t head_word(const struct area *area)
{
	return WORD_HEAD | area->offset << OFFSET_SHIFT | area->slack << SLACK_SHIFT |
	       area->pages << PAGES_SHIFT;
}

static struct area area_of(uint64_t first, uint64_t word)
{
	return (struct area){ .first = first,
			      .pages = word >> PAGES_SHIFT,
			      .offset = word >> OFFSET_SHIFT & IN_PAGE,
			      .slack = word >> SLACK_SHIFT & IN_PAGE,
			      .freed = word & WORD_FREED };
}

/* The owner's word of the area that ends with this page, sealed. */
static uint64_t guard_word(const struct areas *a, uint64_t page, uint32_t value)
{
	uint64_t seal = heap_seal((const void *)(uintptr_t)page, value, a->setup.cookie);

	return WORD_GUARD | (uint64_t)value << VALUE_SHIFT | seal << SEAL_SHIFT;
}

static uint64_t object_bytes(const struct area *area)
{
	return (area->pages - 1) * FRAME_BYTES - area->offset - area->slack;
}

static uint64_t region_pages(const struct areas *a)
{
	return a->setup.rules.bytes >> X86_PAGE_SHIFT;
}

static char *page_at(const struct areas *a, uint64_t page)
{
	return a->setup.base + (page << X86_PAGE_SHIFT);
}

static struct vaddr page_vaddr(const struct areas *a, uint64_t page)
{
	return vaddr_add(a->setup.mapper.base, page << X86_PAGE_SHIFT);
}

/* ---- start ---- */

static uint64_t ring_bytes(const struct area_rules *rules)
{
	return round_up_u64(rules->quarantine * sizeof(uint32_t), 8);
}

uint64_t areas_room_bytes(const struct area_rules *rules)
{
	return page_map_region_root_bytes(rules->bytes >> X86_PAGE_SHIFT) + ring_bytes(rules);
}

uint64_t areas_region_bytes(const struct heap_config *config, uint64_t bytes, const char **why)
{
	uint64_t most = config->mapper.ops ? config->mapper.bytes : 0;

	if (!most)
		*why = "it needs page tables and room for a region of kernel addresses";
	return bytes < most ? bytes : most;
}

void areas_init(struct areas *a, const struct heap_config *config, const struct area_rules *rules,
		void *room)
{
	*a = (struct areas){ .setup = { .mapper = config->mapper,
					.base = port_ptr(config->mapper.base),
					.rules = *rules,
					.cookie = heap_cookie(config),
					.ring = room } };
	a->setup_sum = heap_header_sum(&a->setup, sizeof(a->setup));
	heap_pages_init(&a->pages, config);
	page_map_init_region(&a->words, &a->pages,
			     (uint64_t *)((uintptr_t)room + ring_bytes(rules)), a->setup.base,
			     region_pages(a));
}

/* ---- addresses ---- */

/* The last page in [first, first + pages) that is an area's; NOWHERE: none is. */
static uint64_t last_used(const struct areas *a, uint64_t first, uint64_t pages)
{
	for (uint64_t page = first + pages; page-- > first;)
		if (page_map_word(&a->words, page))
			return page;
	return NOWHERE;
}

static uint64_t run_between(const struct areas *a, uint64_t from, uint64_t end, uint64_t pages,
			    uint64_t align)
{
	for (from = round_up_u64(from, align); from + pages <= end;) {
		uint64_t used = last_used(a, from, pages);
		if (used == NOWHERE)
			return from;
		from = round_up_u64(used + 1, align);
	}
	return NOWHERE;
}

static void drop_oldest(struct areas *a)
{
	uint64_t first = a->setup.ring[a->ring_first];
	struct area area = area_of(first, page_map_word(&a->words, first));

	page_map_clear(&a->words, page_at(a, first), area.pages);
	a->freed_bytes -= object_bytes(&area);
	a->ring_first = (a->ring_first + 1) % a->setup.rules.quarantine;
	a->ring_count--;
	if (!a->setup.rules.late && first < a->cursor)
		a->cursor = first;
}

static uint64_t find_run(struct areas *a, uint64_t pages, uint64_t align)
{
	uint64_t end = region_pages(a);

	for (;;) {
		uint64_t at = run_between(a, a->cursor, end, pages, align);
		uint64_t again = a->cursor + pages - 1;
		if (at == NOWHERE)
			at = run_between(a, 0, again < end ? again : end, pages, align);
		if (at != NOWHERE || !a->ring_count)
			return at;
		drop_oldest(a);
	}
}

/* ---- words ---- */

/* False, and nothing set: no frame for a leaf of the page map. */
static bool set_words(struct areas *a, const struct area *area, uint32_t value)
{
	uint64_t body = area->pages - 2, last = area->first + area->pages - 1;

	if (!page_map_set(&a->words, page_at(a, area->first), 1, head_word(area)))
		return false;
	if (body && !page_map_set(&a->words, page_at(a, area->first + 1), body,
				  WORD_BODY | area->first << VALUE_SHIFT))
		goto no_body;
	if (page_map_set(&a->words, page_at(a, last), 1, guard_word(a, last, value)))
		return true;
	if (body)
		page_map_clear(&a->words, page_at(a, area->first + 1), body);
no_body:
	page_map_clear(&a->words, page_at(a, area->first), 1);
	return false;
}

/* The area that page is of. */
static bool area_at(const struct areas *a, uint64_t page, struct area *area)
{
	uint64_t word = page_map_word(&a->words, page);

	if (!word)
		return false;
	if ((word & 3) == WORD_GUARD)
		word = page_map_word(&a->words, --page);
	if ((word & 3) == WORD_BODY) {
		page = word >> VALUE_SHIFT;
		word = page_map_word(&a->words, page);
	}
	*area = area_of(page, word);
	return true;
}

/* The live area whose object begins at AT. */
static bool area_of_object(const struct areas *a, const void *at, struct area *area)
{
	uint64_t page = page_map_index(&a->words, at);
	uint64_t word = areas_hold(a, at) ? page_map_word(&a->words, page) : 0;

	if ((word & WORD_KIND) != WORD_HEAD)
		return false;
	*area = area_of(page, word);
	return ((uintptr_t)at & IN_PAGE) == area->offset;
}

/* ---- pages ---- */

static void page_gone(void *context, struct vaddr va, struct pfn frame)
{
	struct areas *a = context;

	(void)va;
	a->mapped_pages--;
	heap_pages_put(&a->pages, (struct heap_run){ frame_direct(&a->pages.reach, frame), 1 });
}

static void unmap_pages(struct areas *a, const struct area *area)
{
	a->setup.mapper.ops->unmap(a->setup.mapper.context, page_vaddr(a, area->first),
				   (area->pages - 1) * FRAME_BYTES, page_gone, a);
}

static bool map_page(struct areas *a, uint64_t page, uint8_t zone)
{
	struct heap_run run = heap_pages_get(&a->pages, 1, 1, zone);

	if (!run.at)
		return false;
	struct pfn frame = pfn(heap_frame_of(&a->pages, run.at));
	if (a->setup.mapper.ops->map(a->setup.mapper.context, page_vaddr(a, page), frame)) {
		heap_pages_put(&a->pages, run);
		return false;
	}
	a->mapped_pages++;
	return true;
}

static bool map_pages(struct areas *a, const struct area *area, uint8_t zone)
{
	for (uint64_t i = 0; i + 1 < area->pages; i++)
		if (!map_page(a, area->first + i, zone))
			return false;
	return true;
}

/* ---- alloc, free ---- */

/* Where in its pages the object lies; `first` is not known yet. */
static struct area shape_of(const struct areas *a, const struct heap_request *request)
{
	uint64_t pages = frames_for_bytes(request->bytes);
	uint64_t room = pages * FRAME_BYTES - request->bytes;
	uint64_t offset = a->setup.rules.at_end && request->align_bytes <= FRAME_BYTES
				  ? room & ~(uint64_t)(request->align_bytes - 1)
				  : 0;

	return (struct area){ .pages = pages + 1, .offset = offset, .slack = room - offset };
}

int areas_alloc(struct areas *a, const struct heap_request *request, uint32_t value, void **out)
{
	struct area area = shape_of(a, request);
	uint64_t align = request->align_bytes / FRAME_BYTES;

	if (area.pages > region_pages(a))
		return KERR_NO_MEMORY;
	area.first = find_run(a, area.pages, align ? align : 1);
	if (area.first == NOWHERE || !set_words(a, &area, value))
		return KERR_NO_MEMORY;
	if (!map_pages(a, &area, request->zone)) {
		unmap_pages(a, &area);
		page_map_clear(&a->words, page_at(a, area.first), area.pages);
		return KERR_NO_MEMORY;
	}
	a->cursor = area.first + area.pages;
	a->used_areas++;
	a->used_bytes += request->bytes;
	*out = page_at(a, area.first) + area.offset;
	return 0;
}

/* Its words say from now on that it was one. */
static void enter_quarantine(struct areas *a, const struct area *area)
{
	uint64_t *leaf, most = a->setup.rules.quarantine;

	if (!most) {
		page_map_clear(&a->words, page_at(a, area->first), area->pages);
		if (!a->setup.rules.late && area->first < a->cursor)
			a->cursor = area->first;
		return;
	}
	if (a->ring_count == most)
		drop_oldest(a);
	a->freed_bytes += object_bytes(area);
	for (uint64_t i = area->first; i < area->first + area->pages; i++) {
		leaf = page_map_slot(&a->words, i);
		*leaf |= WORD_FREED;
	}
	a->setup.ring[(a->ring_first + a->ring_count++) % most] = (uint32_t)area->first;
}

int areas_free(struct areas *a, void *object)
{
	struct area area;

	if (!area_of_object(a, object, &area))
		return KERR_NOT_OWNED;
	unmap_pages(a, &area);
	a->used_areas--;
	a->used_bytes -= object_bytes(&area);
	enter_quarantine(a, &area);
	return 0;
}

uint64_t areas_usable(const struct areas *a, const void *object)
{
	struct area area;

	return area_of_object(a, object, &area) ? object_bytes(&area) : 0;
}

uint32_t areas_value(const struct areas *a, const void *object)
{
	struct area area;

	if (!area_of_object(a, object, &area))
		return 0;
	return (uint32_t)(page_map_word(&a->words, area.first + area.pages - 1) >> VALUE_SHIFT);
}

void areas_trim(struct areas *a)
{
	while (a->ring_count)
		drop_oldest(a);
}

/* ---- looking at them ---- */

bool areas_locate(const struct areas *a, const void *at, struct heap_place *out)
{
	struct area area;

	if (!areas_hold(a, at) || !area_at(a, page_map_index(&a->words, at), &area))
		return false;
	*out = (struct heap_place){ .object = page_at(a, area.first) + area.offset,
				    .bytes = object_bytes(&area),
				    .freed = area.freed };
	return true;
}

void areas_add_stats(const struct areas *a, struct heap_stats *stats)
{
	stats->held_frames += a->pages.held_frames;
	stats->used_objects += a->used_areas;
	stats->used_bytes += a->used_bytes;
	stats->kept_bytes += (a->pages.held_frames - a->mapped_pages) * FRAME_BYTES;
}

struct visit {
	const struct areas *areas;
	heap_visit_fn visit;
	void *ctx;
};

static int visit_word(void *ctx, const void *at, uint64_t word)
{
	const struct visit *v = ctx;
	struct area area = area_of(0, word);
	struct heap_extent extent = { .at = (const char *)at + area.offset,
				      .bytes = object_bytes(&area),
				      .state = HEAP_USED };

	return (word & WORD_KIND) == WORD_HEAD ? v->visit(v->ctx, &extent) : 0;
}

int areas_walk(const struct areas *a, heap_visit_fn visit, void *ctx)
{
	struct visit v = { a, visit, ctx };

	return page_map_walk(&a->words, visit_word, &v) ? KERR_STOP : 0;
}

/* ---- check ---- */

struct tally {
	const struct areas *areas;
	struct heap_violation *v;
	unsigned first;	  /* invariant 1 is the owner's number `first` */
	struct area area; /* under way; done where next is behind it */
	uint64_t next;	  /* page whose word must come next; NOWHERE: a head's must */
	uint64_t mapped_pages, used_areas, used_bytes, freed_areas, freed_sum, freed_bytes;
};

/* A sum of these over pages says which pages they are: it differs for another set of as many. */
static uint64_t page_sum(uint64_t page)
{
	return (page + 1) * (page + 1) * 0x9e3779b97f4a7c15;
}

static int found(const struct tally *t, unsigned invariant, const void *at, const char *what)
{
	return heap_found(t->v, t->first + invariant - 1, at, what);
}

static bool head_sound(const struct areas *a, uint64_t page, uint64_t word)
{
	struct area area = area_of(page, word);
	uint64_t room = area.offset + area.slack;

	return (word & 3) == WORD_HEAD && area.pages >= 2 && !(word >> PAGES_SHIFT >> 33) &&
	       area.pages <= region_pages(a) - page && room < (area.pages - 1) * FRAME_BYTES &&
	       room < FRAME_BYTES && !(word & 8);
}

/* Is the page mapped just as it should be? */
static bool leads_right(const struct areas *a, uint64_t page, bool mapped)
{
	const struct heap_mapper *m = &a->setup.mapper;
	struct pfn frame;

	if (m->ops->query(m->context, page_vaddr(a, page), &frame) != mapped)
		return false;
	return !mapped || heap_pages_possible(&a->pages, frame_direct(&a->pages.reach, frame));
}

static uint64_t word_wanted(const struct tally *t, uint64_t page, uint64_t word)
{
	uint64_t freed = t->area.freed ? WORD_FREED : 0;

	if (page == t->area.first + t->area.pages - 1)
		return guard_word(t->areas, page, (uint32_t)(word >> VALUE_SHIFT)) | freed;
	return WORD_BODY | freed | t->area.first << VALUE_SHIFT;
}

static void count_area(struct tally *t, uint64_t page, uint64_t word)
{
	t->area = area_of(page, word);
	if (t->area.freed) {
		t->freed_areas++;
		t->freed_sum += page_sum(page);
		t->freed_bytes += object_bytes(&t->area);
		return;
	}
	t->used_areas++;
	t->used_bytes += object_bytes(&t->area);
	t->mapped_pages += t->area.pages - 1;
}

static int tally_word(void *ctx, const void *at, uint64_t word)
{
	struct tally *t = ctx;
	const struct areas *a = t->areas;
	uint64_t page = page_map_index(&a->words, at);

	if (t->next == NOWHERE) {
		if (page >= region_pages(a) || !head_sound(a, page, word))
			return found(t, 2, at, "words are whole areas of the region");
		count_area(t, page, word);
	} else if (page != t->next || word != word_wanted(t, page, word)) {
		return found(t, 2, at, "words are whole areas of the region");
	}
	bool guard = page == t->area.first + t->area.pages - 1;
	if (!leads_right(a, page, !guard && !t->area.freed))
		return found(t, 3, at,
			     "live areas lead to RAM, guard pages and freed ones nowhere");
	t->next = guard ? NOWHERE : page + 1;
	return 0;
}

static int check_ring(const struct tally *t)
{
	const struct areas *a = t->areas;
	uint64_t most = a->setup.rules.quarantine, sum = 0;

	if (a->ring_count > most || (most && a->ring_first >= most) ||
	    a->ring_count != t->freed_areas)
		return found(t, 5, &a->ring_count, "the ring names each area in quarantine");
	for (uint64_t i = 0; i < a->ring_count; i++) {
		const uint32_t *page = &a->setup.ring[(a->ring_first + i) % most];
		uint64_t word = page_map_word(&a->words, *page);
		if ((word & WORD_KIND) != (WORD_HEAD | WORD_FREED))
			return found(t, 5, page, "the ring names each area in quarantine");
		sum += page_sum(*page);
	}
	if (sum != t->freed_sum)
		return found(t, 5, a->setup.ring, "the ring names each area in quarantine");
	return 0;
}

int areas_check(const struct areas *a, unsigned first, struct heap_violation *v)
{
	struct tally t = { .areas = a, .v = v, .first = first, .next = NOWHERE };

	if (a->setup_sum != heap_header_sum(&a->setup, sizeof(a->setup)))
		return found(&t, 1, &a->setup, "the setup is as init left it");
	const void *bad = page_map_check(&a->words);
	if (bad)
		return found(&t, 1, bad, "the page map is sound");
	int error = page_map_walk(&a->words, tally_word, &t);
	if (error)
		return error;
	if (t.next != NOWHERE)
		return found(&t, 2, page_at(a, t.area.first), "words are whole areas");
	if (t.used_areas != a->used_areas || t.used_bytes != a->used_bytes ||
	    t.freed_bytes != a->freed_bytes || t.mapped_pages != a->mapped_pages ||
	    a->cursor > region_pages(a) ||
	    a->pages.held_frames != a->mapped_pages + page_map_leaves(&a->words))
		return found(&t, 4, a, "totals are what the words say");
	return check_ring(&t);
}
