#include "sim/fragmentation.h"

#include <glib.h>
#include <math.h>
#include <string.h>

#define LARGEST_BLOCKS 50
#define FRAME_BYTES    4096

/* One sample's common terms. */
struct sample {
	const struct ledger_totals *totals;
	const struct ledger *ledger;
	const struct metrics_extra *extra;
	uint64_t largest_run;
	uint64_t blocks; /* B */
};

/* k_i of the decomposition that stops at order TOP - 1. */
static uint64_t free_blocks(const struct ledger_totals *totals, unsigned order, unsigned top)
{
	return order + 1 < top ? totals->full[order] - 2 * totals->full[order + 1]
			       : totals->full[order];
}

/* Frames that blocks of ORDER cannot use: F - S_j 2^j. */
static uint64_t unusable_frames(const struct ledger_totals *totals, unsigned order)
{
	uint64_t blocks = totals->full[order];

	return totals->free_frames - blocks * (1ull << order);
}

static double ratio(double part, double whole)
{
	return whole > 0 ? part / whole : 0;
}

static double m_free(const struct sample *s, unsigned index)
{
	return (double)s->totals->free_frames;
}

static double m_live(const struct sample *s, unsigned index)
{
	return (double)s->totals->live_frames;
}

static double m_reserved(const struct sample *s, unsigned index)
{
	return (double)s->totals->reserved_frames;
}

static double m_handles(const struct sample *s, unsigned index)
{
	return (double)s->totals->live_handles;
}

static double m_requested(const struct sample *s, unsigned index)
{
	return (double)s->totals->requested_frames;
}

static double m_internal(const struct sample *s, unsigned index)
{
	double live = (double)s->totals->live_frames;

	return 100 * ratio(live - (double)s->totals->requested_frames, live);
}

static double m_blocks(const struct sample *s, unsigned order)
{
	return (double)free_blocks(s->totals, order, LEDGER_ORDERS);
}

static double m_unusable(const struct sample *s, unsigned order)
{
	uint64_t free_frames = s->totals->free_frames;

	return free_frames ? (double)unusable_frames(s->totals, order) / (double)free_frames : 1;
}

static double m_index(const struct sample *s, unsigned order)
{
	if (s->blocks == 0)
		return 0;
	if (s->totals->full[order] > 0)
		return -1;
	return 1 -
	       (1 + (double)s->totals->free_frames / (double)(1ull << order)) / (double)s->blocks;
}

static double m_index_milli(const struct sample *s, unsigned order)
{
	if (s->blocks == 0)
		return 0;
	if (s->totals->full[order] > 0)
		return -1000;
	return (double)(1000 - (int64_t)((1000 + s->totals->free_frames * 1000 / (1ull << order)) /
					 s->blocks));
}

static double m_extfrag(const struct sample *s, unsigned order)
{
	uint64_t free_frames = s->totals->free_frames;

	return free_frames ? (double)(unusable_frames(s->totals, order) * 100 / free_frames) : 0;
}

static double m_huge(const struct sample *s, unsigned index)
{
	unsigned order = s->extra->huge_order;

	return 100 *
	       ratio((double)s->totals->full[order], (double)(s->totals->free_frames >> order));
}

static double m_huge_of_total(const struct sample *s, unsigned index)
{
	unsigned order = s->extra->huge_order;

	return 100 *
	       ratio((double)s->totals->full[order], (double)(s->totals->usable_frames >> order));
}

static double m_largest50(const struct sample *s, unsigned index)
{
	uint64_t wanted = LARGEST_BLOCKS;
	double frames = 0;

	for (unsigned order = LEDGER_ALL_ORDERS; order-- > 0 && wanted > 0;) {
		uint64_t blocks = free_blocks(s->totals, order, LEDGER_ALL_ORDERS);
		uint64_t taken = MIN(blocks, wanted);

		frames += (double)(taken << order);
		wanted -= taken;
	}
	return ratio(frames, (double)(LARGEST_BLOCKS - wanted));
}

static double m_level(const struct sample *s, unsigned level)
{
	return (double)s->totals->region_level[level];
}

static double m_mixed(const struct sample *s, unsigned index)
{
	return 100 * ratio((double)s->totals->mixed_regions, (double)s->totals->regions);
}

static double m_unmovable(const struct sample *s, unsigned index)
{
	return 100 * ratio((double)s->totals->unmovable_regions, (double)s->totals->regions);
}

static double m_largest_run(const struct sample *s, unsigned index)
{
	return (double)s->largest_run;
}

static double m_runs(const struct sample *s, unsigned index)
{
	return (double)s->totals->free_runs;
}

static double m_scatter(const struct sample *s, unsigned index)
{
	return ratio((double)(s->totals->free_frames - s->largest_run),
		     (double)s->totals->free_frames);
}

static double m_run_bin(const struct sample *s, unsigned bin)
{
	return (double)s->totals->run_bins[bin];
}

static double m_metadata(const struct sample *s, unsigned index)
{
	const struct metrics_extra *extra = s->extra;

	return ratio((double)(extra->state_bytes + extra->kept_frames * FRAME_BYTES),
		     (double)extra->managed_frames);
}

static double m_kept(const struct sample *s, unsigned index)
{
	return (double)s->extra->kept_frames;
}

static double m_failures(const struct sample *s, unsigned index)
{
	return (double)s->extra->failures;
}

static double m_processes(const struct sample *s, unsigned index)
{
	return (double)s->extra->spaces.processes;
}

static double m_mapped(const struct sample *s, unsigned index)
{
	return (double)s->extra->spaces.mapped_pages;
}

static double m_user(const struct sample *s, unsigned index)
{
	return (double)s->extra->spaces.user_frames;
}

static double m_tables(const struct sample *s, unsigned index)
{
	return (double)s->extra->spaces.table_frames;
}

static double m_faults(const struct sample *s, unsigned index)
{
	return (double)s->extra->spaces.faults;
}

static double m_copies(const struct sample *s, unsigned index)
{
	return (double)s->extra->spaces.copies;
}

static double m_shootdowns(const struct sample *s, unsigned index)
{
	return (double)s->extra->spaces.shootdowns;
}

static double m_mapped16(const struct sample *s, unsigned index)
{
	return s->extra->spaces.on ? s->extra->spaces.contig16_percent : -1;
}

static double m_mapped512(const struct sample *s, unsigned index)
{
	return s->extra->spaces.on ? s->extra->spaces.contig512_percent : -1;
}

static double m_mapped_runs(const struct sample *s, unsigned index)
{
	return s->extra->spaces.on ? (double)s->extra->spaces.contig_runs99 : -1;
}

static double m_reach(const struct sample *s, unsigned index)
{
	return s->extra->spaces.on ? (double)s->extra->spaces.reach_bytes[index] : -1;
}

static double m_moves(const struct sample *s, unsigned pinned)
{
	return (double)ledger_compaction_moves(s->ledger, pinned);
}

static double m_fallbacks(const struct sample *s, unsigned index)
{
	return s->extra->has_mobility ? (double)s->extra->fallbacks : -1;
}

static double m_fragmenting(const struct sample *s, unsigned index)
{
	return s->extra->has_mobility ? (double)s->extra->fragmenting_fallbacks : -1;
}

static double m_fallback_rate(const struct sample *s, unsigned index)
{
	double allocations = (double)s->extra->demand.allocations;

	return s->extra->has_mobility ? 1e6 * ratio((double)s->extra->fallbacks, allocations) : -1;
}

static double m_contig16(const struct sample *s, unsigned index)
{
	return s->extra->demand.contig16_percent;
}

static double m_contig512(const struct sample *s, unsigned index)
{
	return s->extra->demand.contig512_percent;
}

static double m_contig_runs(const struct sample *s, unsigned index)
{
	return (double)s->extra->demand.contig_runs99;
}

static double m_live_huge(const struct sample *s, unsigned index)
{
	return 100 * ratio((double)(ledger_live_regions(s->ledger) * LEDGER_REGION_FRAMES),
			   (double)s->totals->live_frames);
}

static double m_huge_requests(const struct sample *s, unsigned index)
{
	return (double)s->extra->demand.huge_requests;
}

static double m_huge_served(const struct sample *s, unsigned index)
{
	return (double)s->extra->demand.huge_served;
}

static double m_first_failure(const struct sample *s, unsigned index)
{
	return s->extra->demand.first_failure_fill_percent;
}

static double m_huge_first_failure(const struct sample *s, unsigned index)
{
	return s->extra->demand.huge_first_failure_fill_percent;
}

/* A metric and its formula; INDEX tells apart the members of a family (order, level, bin). */
struct formula {
	struct metric metric;
	double (*value)(const struct sample *sample, unsigned index);
	unsigned index;
};

#define ONE(name, unit, row, kind, value, help)                    \
	{                                                          \
		{ name, unit, row, METRIC_##kind, help }, value, 0 \
	}
#define MEMBER(name, n, unit, row, kind, value, help)                 \
	{                                                             \
		{ name #n, unit, row, METRIC_##kind, help }, value, n \
	}
#define REACH(name, n, help)                                            \
	{                                                               \
		{ name, "bytes", 11, METRIC_INTEGER, help }, m_reach, n \
	}
#define LEVELS(...)                                                                           \
	MEMBER_N(0, __VA_ARGS__), MEMBER_N(1, __VA_ARGS__), MEMBER_N(2, __VA_ARGS__),         \
		MEMBER_N(3, __VA_ARGS__), MEMBER_N(4, __VA_ARGS__), MEMBER_N(5, __VA_ARGS__), \
		MEMBER_N(6, __VA_ARGS__), MEMBER_N(7, __VA_ARGS__), MEMBER_N(8, __VA_ARGS__), \
		MEMBER_N(9, __VA_ARGS__)
#define MEMBER_N(n, name, ...) MEMBER(name, n, __VA_ARGS__)
#define ORDERS(...)	       LEVELS(__VA_ARGS__), MEMBER_N(10, __VA_ARGS__)
#define BINS(...)                                                                                \
	ORDERS(__VA_ARGS__), MEMBER_N(11, __VA_ARGS__), MEMBER_N(12, __VA_ARGS__),               \
		MEMBER_N(13, __VA_ARGS__), MEMBER_N(14, __VA_ARGS__), MEMBER_N(15, __VA_ARGS__), \
		MEMBER_N(16, __VA_ARGS__), MEMBER_N(17, __VA_ARGS__), MEMBER_N(18, __VA_ARGS__), \
		MEMBER_N(19, __VA_ARGS__), MEMBER_N(20, __VA_ARGS__)

static const struct formula formulas[] = {
	ONE("free_frames", "frames", 0, INTEGER, m_free, "frames that nobody owns"),
	ONE("live_frames", "frames", 0, INTEGER, m_live, "frames owned by live handles"),
	ONE("reserved_frames", "frames", 0, INTEGER, m_reserved,
	    "frames of the kernel itself, and those the recording never shows"),
	ONE("live_handles", "", 0, INTEGER, m_handles, "handles that own a frame"),
	ONE("requested_frames", "frames", 0, INTEGER, m_requested,
	    "frames that live handles asked for"),
	ONE("internal_percent", "percent", 13, FRACTION, m_internal,
	    "internal fragmentation: 100 (1 - requested / live)"),
	ORDERS("free_blocks_o", "", 1, INTEGER, m_blocks,
	       "naturally aligned free blocks of this order; order 10: every aligned 4 MiB"),
	ORDERS("unusable_o", "", 1, FRACTION, m_unusable,
	       "unusable free space index: share of free frames outside blocks of this order"),
	ORDERS("frag_index_o", "", 2, FRACTION, m_index,
	       "fragmentation index: 0 a failure for lack of memory, 1 for fragmentation; -1 none"),
	ORDERS("frag_index_milli_o", "", 2, INTEGER, m_index_milli,
	       "fragmentation index in thousandths, truncated as Linux prints it"),
	ORDERS("extfrag_percent_o", "percent", 3, INTEGER, m_extfrag,
	       "share of free frames outside blocks of this order, as Linux's compaction sees it"),
	ONE("free_huge_percent", "percent", 4, FRACTION, m_huge,
	    "free huge blocks of those that the free frames could form"),
	ONE("free_huge_of_total_percent", "percent", 4, FRACTION, m_huge_of_total,
	    "free huge blocks of those that usable RAM could form"),
	ONE("largest50_mean_frames", "frames", 5, FRACTION, m_largest50,
	    "mean of the 50 largest naturally aligned free blocks, of any order"),
	LEVELS("regions_free_l", "", 6, INTEGER, m_level,
	       "2 MiB regions of which this many tenths are free"),
	ONE("mixed_regions_percent", "percent", 8, FRACTION, m_mixed,
	    "2 MiB regions with frames of more than one mobility"),
	ONE("unmovable_regions_percent", "percent", 8, FRACTION, m_unmovable,
	    "2 MiB regions with at least one unmovable frame"),
	ONE("largest_run_frames", "frames", 10, INTEGER, m_largest_run,
	    "longest run of free frames"),
	ONE("free_runs", "", 10, INTEGER, m_runs, "runs of free frames"),
	ONE("run_scatter", "", 10, FRACTION, m_scatter, "1 - longest run / free frames"),
	BINS("free_runs_p", "", 10, INTEGER, m_run_bin,
	     "runs of 2^n to 2^(n+1) - 1 free frames; p20: and longer"),
	ONE("metadata_bytes_per_frame", "bytes", 16, FRACTION, m_metadata,
	    "the allocator's state and the frames it keeps, a managed frame"),
	ONE("kept_frames", "frames", 16, INTEGER, m_kept,
	    "frames that the allocator keeps for itself, beside its state"),
	ONE("failures", "", 12, INTEGER, m_failures, "requests not served so far"),
	ONE("compact_moves", "", 7, INTEGER, m_moves,
	    "frames to be moved to empty as many 2 MiB regions as can be"),
	{ { "compact_moves_pinned", "", 7, METRIC_INTEGER,
	    "the same, where regions with an unmovable frame cannot be emptied" },
	  m_moves,
	  1 },
	ONE("fallbacks", "", 9, INTEGER, m_fallbacks,
	    "allocations from another mobility's free blocks, by the allocator's count; -1 no "
	    "mobility"),
	ONE("fragmenting_fallbacks", "", 9, INTEGER, m_fragmenting,
	    "of them, those from a block smaller than a page block; -1 no mobility"),
	ONE("fallbacks_per_million", "", 9, FRACTION, m_fallback_rate,
	    "fallbacks in a million allocations served; -1 no mobility"),
	ONE("contig16_percent", "percent", 11, FRACTION, m_contig16,
	    "frames handed out in runs of 16 and more by one task, in the order of its "
	    "allocations"),
	ONE("contig512_percent", "percent", 11, FRACTION, m_contig512,
	    "the same in runs of 512 and more"),
	ONE("contig_runs99", "", 11, INTEGER, m_contig_runs,
	    "of such runs, the longest that together hold 99 % of the frames"),
	ONE("live_huge_percent", "percent", 11, FRACTION, m_live_huge,
	    "live frames in aligned 2 MiB that are wholly live"),
	ONE("huge_requests", "", 12, INTEGER, m_huge_requests, "requests of a huge page's order"),
	ONE("huge_served", "", 12, INTEGER, m_huge_served, "of them, those served"),
	ONE("first_failure_fill_percent", "percent", 12, FRACTION, m_first_failure,
	    "how full RAM was when a request first failed; -1 none has"),
	ONE("huge_first_failure_fill_percent", "percent", 12, FRACTION, m_huge_first_failure,
	    "how full RAM was when a request of a huge page's order first failed; -1 none has"),
	ONE("processes", "", 0, INTEGER, m_processes, "address spaces"),
	ONE("mapped_pages", "pages", 0, INTEGER, m_mapped,
	    "pages that address spaces map, a shared frame as often as it is mapped"),
	ONE("user_frames", "frames", 0, INTEGER, m_user, "frames that hold pages of processes"),
	ONE("page_table_frames", "frames", 16, INTEGER, m_tables,
	    "frames that hold page tables of address spaces"),
	ONE("page_faults", "", 18, INTEGER, m_faults, "page faults of user code so far"),
	ONE("copied_pages", "pages", 18, INTEGER, m_copies,
	    "pages copied so far, by writes after a fork or by forks"),
	ONE("shootdowns", "", 18, INTEGER, m_shootdowns,
	    "invalidations asked of other CPUs so far"),
	ONE("mapped_contig16_percent", "percent", 11, FRACTION, m_mapped16,
	    "mapped pages in runs of 16 and more that are contiguous in RAM; -1 no address spaces"),
	ONE("mapped_contig512_percent", "percent", 11, FRACTION, m_mapped512,
	    "the same in runs of 512 and more"),
	ONE("mapped_contig_runs99", "", 11, INTEGER, m_mapped_runs,
	    "of such runs, the longest that together hold 99 % of the mapped pages"),
	REACH("tlb_reach_4k_bytes", 0, "mapped memory that the second-level TLB's entries hold"),
	REACH("tlb_reach_64k_bytes", 1, "the same if aligned contiguous 64 KiB could be an entry"),
	REACH("tlb_reach_2m_bytes", 2, "and 2 MiB"),
	REACH("tlb_reach_1g_bytes", 3, "and 1 GiB"),
};

unsigned metrics_count(void)
{
	return G_N_ELEMENTS(formulas);
}

const struct metric *metrics_at(unsigned index)
{
	g_assert(index < metrics_count());
	return &formulas[index].metric;
}

int metrics_find(const char *name)
{
	for (unsigned i = 0; i < metrics_count(); i++)
		if (strcmp(formulas[i].metric.name, name) == 0)
			return (int)i;
	return -1;
}

void metrics_compute(struct ledger *ledger, const struct metrics_extra *extra, double *values)
{
	struct sample sample = { .totals = ledger_totals(ledger),
				 .ledger = ledger,
				 .extra = extra,
				 .largest_run = ledger_largest_run(ledger) };

	for (unsigned order = 0; order < LEDGER_ORDERS; order++)
		sample.blocks += free_blocks(sample.totals, order, LEDGER_ORDERS);
	for (unsigned i = 0; i < metrics_count(); i++)
		values[i] = formulas[i].value(&sample, formulas[i].index);
}

size_t metrics_format(const struct metric *metric, double value, char text[METRIC_TEXT_BYTES])
{
	if (metric->kind == METRIC_INTEGER)
		return (size_t)g_snprintf(text, METRIC_TEXT_BYTES, "%" G_GINT64_FORMAT,
					  (gint64)value);
	g_ascii_formatd(text, METRIC_TEXT_BYTES, "%.6f", value);
	return strlen(text);
}

JsonNode *metrics_json(const double *values)
{
	JsonObject *object = json_object_new();
	JsonNode *node = json_node_new(JSON_NODE_OBJECT);

	for (unsigned i = 0; i < metrics_count(); i++) {
		const struct metric *metric = metrics_at(i);

		if (metric->kind == METRIC_INTEGER)
			json_object_set_int_member(object, metric->name, (gint64)values[i]);
		else
			json_object_set_double_member(object, metric->name, values[i]);
	}
	json_node_take_object(node, object);
	return node;
}

void metrics_free_blocks(const struct ledger *ledger, uint64_t blocks[LEDGER_ORDERS])
{
	for (unsigned order = 0; order < LEDGER_ORDERS; order++)
		blocks[order] = free_blocks(ledger_totals(ledger), order, LEDGER_ORDERS);
}

static double frames_of(const uint64_t blocks[LEDGER_ORDERS])
{
	double frames = 0;

	for (unsigned order = 0; order < LEDGER_ORDERS; order++)
		frames += ldexp((double)blocks[order], (int)order);
	return frames;
}

double metrics_distance(const uint64_t a[LEDGER_ORDERS], const uint64_t b[LEDGER_ORDERS])
{
	double free_a = frames_of(a), free_b = frames_of(b), sum = 0;

	if (free_a <= 0 || free_b <= 0)
		return free_a > 0 || free_b > 0;
	for (unsigned order = 0; order < LEDGER_ORDERS; order++)
		sum += fabs(ldexp((double)a[order], (int)order) / free_a -
			    ldexp((double)b[order], (int)order) / free_b);
	return sum / 2;
}

int metrics_largest_free_order(const struct ledger *ledger)
{
	int order = LEDGER_ORDERS - 1;

	while (order >= 0 && ledger_totals(ledger)->full[order] == 0)
		order--;
	return order;
}
