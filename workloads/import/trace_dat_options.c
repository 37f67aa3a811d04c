#include "workloads/import/trace_dat_options.h"

#include <string.h>

/* Options that matter here. Those that name sections have the sections' numbers. */
enum option {
	OPTION_DATE = 1,
	OPTION_BUFFER = 3,
	OPTION_OFFSET = 7,
	OPTION_CPU_COUNT = 8,
	OPTION_TIME_SHIFT = 12,
	OPTION_TSC = 14,
	OPTION_FIRST_SECTION = 16,
	OPTION_LAST_SECTION = 21,
	OPTION_BUFFER_TEXT = 22
};

#define NUMBER_TEXT 64
#define CPU_BYTES   20

static bool too_short(struct trace_dat *dat, uint64_t at, unsigned id, size_t count)
{
	return trace_dat_fail(dat, at, "option %u of only %zu bytes", id, count);
}

/* Texts of options end with a zero, or with the option. */
static void take_offset(struct trace_dat *dat, const unsigned char *bytes, size_t count,
			int64_t unit_ns)
{
	char text[NUMBER_TEXT] = "";

	memcpy(text, bytes, MIN(count, sizeof text - 1));
	trace_dat_clock_offset(&dat->clock, text, unit_ns);
}

/* What lies behind the zero of the text at BYTES; NULL without one. */
static const unsigned char *behind_text(const unsigned char *bytes, const unsigned char *end)
{
	const unsigned char *zero = memchr(bytes, '\0', (size_t)(end - bytes));

	return zero ? zero + 1 : NULL;
}

/* By CPU, which is how buffers are merged. */
static gint by_cpu(gconstpointer left, gconstpointer right, gpointer data)
{
	struct trace_dat *dat = data;
	uint32_t a = trace_dat_u32(dat, *(const unsigned char *const *)left);
	uint32_t b = trace_dat_u32(dat, *(const unsigned char *const *)right);

	return a < b ? -1 : a > b;
}

/* Version 7: offset of the section, name, clock, size of a page, and the place of each CPU's data.
 */
static bool take_buffer(struct trace_dat *dat, uint64_t at, const unsigned char *bytes,
			size_t count)
{
	const unsigned char *end = bytes + count, *next = behind_text(bytes + 8, end);
	unsigned char section[4];

	next = next ? behind_text(next, end) : NULL;
	if (!next || end - next < 8)
		return too_short(dat, at, OPTION_BUFFER, count);
	/* Its section says whether the data are compressed. */
	uint64_t section_at = trace_dat_u64(dat, bytes);
	if (!trace_dat_read(dat, section_at, section, sizeof section))
		return false;
	unsigned flags = trace_dat_u16(dat, section + 2);
	if (trace_dat_u16(dat, section) != OPTION_BUFFER || flags > 1)
		return trace_dat_fail(dat, section_at,
				      "section %u with flags 0x%x where a buffer should be",
				      trace_dat_u16(dat, section), flags);
	uint32_t cpus = trace_dat_u32(dat, next + 4);
	next += 8;
	if (cpus > (size_t)(end - next) / CPU_BYTES)
		return too_short(dat, at, OPTION_BUFFER, count);
	g_autofree const unsigned char **sorted = g_new(const unsigned char *, cpus);
	for (uint32_t i = 0; i < cpus; i++)
		sorted[i] = next + (size_t)CPU_BYTES * i;
	g_qsort_with_data(sorted, (gint)cpus, sizeof *sorted, by_cpu, dat);
	for (uint32_t i = 0; i < cpus; i++) {
		uint32_t cpu = trace_dat_u32(dat, sorted[i]);
		if (i > 0 && cpu == trace_dat_u32(dat, sorted[i - 1]))
			return trace_dat_fail(dat, at, "a buffer that has CPU %u twice", cpu);
		if (!trace_dat_add_data(dat, at, cpu, trace_dat_u64(dat, sorted[i] + 4),
					trace_dat_u64(dat, sorted[i] + 12), flags & 1))
			return false;
	}
	return true;
}

static bool take_section(struct trace_dat *dat, uint64_t at, unsigned id,
			 const unsigned char *bytes, size_t count)
{
	if (count < 8)
		return too_short(dat, at, id, count);
	dat->sections[id] = trace_dat_u64(dat, bytes);
	return true;
}

/* Version 6: the pages of one more buffer are described elsewhere. */
static bool take_instance(struct trace_dat *dat, const unsigned char *bytes)
{
	uint64_t where = trace_dat_u64(dat, bytes);

	g_array_append_val(dat->instances, where);
	return true;
}

bool trace_dat_option(struct trace_dat *dat, uint64_t at, unsigned id, const unsigned char *bytes,
		      size_t count)
{
	if (id >= OPTION_FIRST_SECTION && id <= OPTION_LAST_SECTION)
		return dat->version == 6 || take_section(dat, at, id, bytes, count);
	switch ((enum option)id) {
	case OPTION_DATE:
		/* In microseconds. */
		take_offset(dat, bytes, count, 1000);
		return true;
	case OPTION_OFFSET:
		take_offset(dat, bytes, count, 1);
		return true;
	case OPTION_TIME_SHIFT:
		return trace_dat_clock_shift(&dat->clock, bytes, count, dat->swap) ||
		       too_short(dat, at, id, count);
	case OPTION_TSC:
		return trace_dat_clock_tsc(&dat->clock, bytes, count, dat->swap) ||
		       too_short(dat, at, id, count);
	case OPTION_CPU_COUNT:
		if (count < 4)
			return too_short(dat, at, id, count);
		dat->cpus = trace_dat_u32(dat, bytes);
		return true;
	case OPTION_BUFFER:
		if (count < 9)
			return too_short(dat, at, id, count);
		return dat->version == 6 ? take_instance(dat, bytes)
					 : take_buffer(dat, at, bytes, count);
	case OPTION_BUFFER_TEXT:
		return trace_dat_fail(dat, at, "a latency trace: text instead of records");
	default:
		return true;
	}
}
