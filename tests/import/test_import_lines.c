#include <check.h>
#include <stdlib.h>
#include <string.h>
#include "tests/import/import_support.h"
#include "workloads/import/line_shape.h"
#include "workloads/import/radix_sort.h"

/* Words and numbers read sixteen bytes at a time, and lines that are read by place, against plain
 * loops and against the same lines read word by word. */

enum { ROUNDS = 300000, LINES = 20000 };

/* ---- numbers and words ---- */

/* A text in whose middle something stands, and behind whose end something else. */
struct sample {
	char text[80];
	const char *begin, *end;
};

static void make_sample(struct sample *sample, GRand *random)
{
	static const char letters[] = "0123456789abcdefABCDEF0123456789 x:=\n\xff";

	for (size_t i = 0; i < sizeof sample->text; i++)
		sample->text[i] = letters[g_rand_int_range(random, 0, sizeof letters - 1)];
	/* Runs of digits of any length. */
	int digits = g_rand_int_range(random, 0, 22);
	for (int i = 0; i < digits; i++)
		sample->text[8 + i] = letters[g_rand_int_range(random, 0, 10)];
	sample->begin = sample->text + 8;
	sample->end = sample->begin + g_rand_int_range(random, 0, 30);
}

START_TEST(digits_are_those_of_a_plain_loop)
{
	g_autoptr(GRand) random = g_rand_new_with_seed(11);
	struct sample sample;

	for (int i = 0; i < ROUNDS; i++) {
		make_sample(&sample, random);
		uint64_t want, got, hex = 0;
		const char *stop = text_digits(sample.begin, sample.end, &want);
		ck_assert_ptr_eq(wide_digits(sample.begin, sample.end, &got), stop);
		ck_assert_uint_eq(got, want);

		for (stop = sample.begin;
		     stop < sample.end && stop < sample.begin + 16 && g_ascii_isxdigit(*stop);
		     stop++)
			hex = hex << 4 | (uint64_t)g_ascii_xdigit_value(*stop);
		ck_assert_ptr_eq(wide_hex_digits(sample.begin, sample.end, &got), stop);
		ck_assert_uint_eq(got, hex);
	}
}
END_TEST

START_TEST(words_end_where_they_end)
{
	g_autoptr(GRand) random = g_rand_new_with_seed(12);
	struct sample sample, other;

	for (int i = 0; i < ROUNDS; i++) {
		make_sample(&sample, random);
		size_t bytes = (size_t)(sample.end - sample.begin);
		ck_assert_ptr_eq(wide_find(sample.begin, sample.end, ':'),
				 memchr(sample.begin, ':', bytes));

		other = sample;
		if (g_rand_boolean(random))
			other.text[g_rand_int_range(random, 0, 40)] ^= 1;
		size_t compared = MIN(bytes, (size_t)WIDE_BYTES);
		ck_assert(wide_same(sample.text + 8, other.text + 8, compared) ==
			  (memcmp(sample.text + 8, other.text + 8, compared) == 0));
	}
}
END_TEST

START_TEST(items_are_sorted_and_equal_ones_keep_their_order)
{
	g_autoptr(GRand) random = g_rand_new_with_seed(13);

	for (int bits = 1; bits <= 64; bits += 7) {
		struct radix_item item[3000];
		for (uint64_t i = 0; i < G_N_ELEMENTS(item); i++) {
			uint64_t key = (uint64_t)g_rand_int(random) << 32 | g_rand_int(random);
			item[i] = (struct radix_item){ key >> (64 - bits), i };
		}
		radix_sort(item, G_N_ELEMENTS(item));
		for (size_t i = 1; i < G_N_ELEMENTS(item); i++)
			ck_assert(item[i - 1].key < item[i].key ||
				  (item[i - 1].key == item[i].key &&
				   item[i - 1].index < item[i].index));
	}
	radix_sort(NULL, 0);
}
END_TEST

/* ---- shapes ---- */

/* A line as lines.h hands it out. */
static struct span line_of(char buffer[SHAPE_BYTES + WIDE_SLACK], const char *text)
{
	memset(buffer, 'x', SHAPE_BYTES + WIDE_SLACK);
	memcpy(buffer, text, strlen(text));
	return (struct span){ buffer, buffer + strlen(text) };
}

START_TEST(a_shape_takes_what_differs_in_digits_alone)
{
	static const struct {
		const char *text;
		bool fits;
		uint64_t decimal, hex;
	} lines[] = {
		{ "pid 123 at 0x1f0 word ab=", true, 123, 0x1f0 },
		{ "pid 456 at 0x1f0 word ab=", true, 456, 0x1f0 },
		{ "pid 456 at 0xffe word c\xff=", true, 456, 0xffe },
		{ "pid 45a at 0x123 word ab=", false, 0, 0 },
		/* What a line that was refused left behind is not believed. */
		{ "pid 456 at 0xffe word ab=", false, 0, 0 },
	};
	char buffer[SHAPE_BYTES + WIDE_SLACK];
	const struct shape_number number[] = {
		{ .at = 4, .digits = 3, .kind = SHAPE_DECIMAL },
		{ .at = 13, .digits = 3, .kind = SHAPE_HEX },
		{ .at = 22, .digits = 2, .kind = SHAPE_WORD },
	};
	struct line_shape shape;

	ck_assert(line_shape_make(&shape, line_of(buffer, "pid 789 at 0x456 word zz="), number, 3));
	for (size_t i = 0; i < G_N_ELEMENTS(lines) - 1; i++) {
		bool fits = line_shape_read(&shape, line_of(buffer, lines[i].text));
		ck_assert_msg(fits == lines[i].fits, "line %zu", i);
		if (!fits)
			continue;
		ck_assert_uint_eq(shape.number[0].value, lines[i].decimal);
		ck_assert_uint_eq(shape.number[1].value, lines[i].hex);
	}
	ck_assert(!line_shape_read(&shape, line_of(buffer, "pid 789 at 0x456 word z z")));
	ck_assert(!line_shape_read(&shape, line_of(buffer, "pid 789 at 0x456 word zz")));
	ck_assert(!line_shape_read(&shape, line_of(buffer, "pid 789 at 0x456 word zz= ")));
	ck_assert(!line_shape_read(&shape, line_of(buffer, "pid 789 xt 0x456 word zz=")));
}
END_TEST

START_TEST(no_shape_is_made_of_what_it_cannot_hold)
{
	char buffer[SHAPE_BYTES + WIDE_SLACK];
	g_autofree char *digits = g_strnfill(17, '1'), *longest = g_strnfill(SHAPE_BYTES + 1, 'a');
	struct shape_number number = { .at = 0, .digits = 17, .kind = SHAPE_HEX };
	struct line_shape shape;

	ck_assert(!line_shape_make(&shape, line_of(buffer, digits), &number, 1));
	ck_assert(!line_shape_read(&shape, line_of(buffer, digits)));
	number.digits = 0;
	ck_assert(!line_shape_make(&shape, line_of(buffer, digits), &number, 1));
	ck_assert(!line_shape_make(&shape, line_of(buffer, longest), &number, 0));
	ck_assert(!line_shape_make(&shape, line_of(buffer, digits), &number, SHAPE_NUMBERS + 1));
}
END_TEST

/* ---- recordings ---- */

/* Up to so many bits, and any number of digits therefore. */
static unsigned some(GRand *random, int bits)
{
	return g_rand_int(random) >> (32 - g_rand_int_range(random, 1, bits + 1));
}

static char *random_event(GRand *random)
{
	unsigned number = some(random, 31), pfn = some(random, 14) * 4, few = some(random, 2);

	switch (g_rand_int_range(random, 0, 7)) {
	case 0:
		return g_strdup_printf("mm_page_alloc: page=0x%x pfn=0x%x order=%u migratetype=%u "
				       "gfp_flags=GFP_KERNEL",
				       number, pfn, few % 3, few);
	case 1:
		return g_strdup_printf("mm_page_free: page=%x pfn=0x%x order=%u", number, pfn,
				       few % 3);
	case 2:
		return g_strdup_printf("mm_page_free_batched: page=0xf%x pfn=%u order=0", number,
				       pfn);
	case 3:
		return g_strdup_printf("kmalloc: call_site=f+0x%x ptr=0x%x bytes_req=%u "
				       "bytes_alloc=%u gfp_flags=GFP_ATOMIC node=-%u",
				       few, number, pfn, pfn, few);
	case 4:
		return g_strdup_printf("kfree: call_site=f+0x%x ptr=0x%x", few, number);
	case 5:
		return g_strdup_printf("page_fault_user: address=0x%x ip=0x%x error_code=0x%u",
				       number, pfn, few);
	default:
		return g_strdup_printf("mm_page_alloc: page=(nil) pfn=0x0 order=%u migratetype=1 "
				       "gfp_flags=GFP_USER",
				       few);
	}
}

enum form { FORM_REPORT = 0, FORM_TRACE, FORM_PERF, FORMS };

/* A line of a recording, here and there with a byte that does not belong there. */
static char *random_line(GRand *random, enum form form, unsigned *micros)
{
	static const char *const names[] = { "bash", "make", "kswd" };
	const char *name = names[g_rand_int_range(random, 0, G_N_ELEMENTS(names))];
	unsigned pid = some(random, 15), cpu = some(random, 2);
	g_autofree char *event = random_event(random);
	char *line;

	*micros += some(random, 12);
	unsigned seconds = *micros / 1000000, part = *micros % 1000000;
	if (form == FORM_PERF)
		line = g_strdup_printf("%16s %5u [%03u] %5u.%06u%03u:   kmem:%s", name, pid, cpu,
				       seconds, part, some(random, 9), event);
	else if (form == FORM_TRACE)
		line = g_strdup_printf("%16s-%-7u [%03u] d..%u. %5u.%06u: %s", name, pid, cpu,
				       some(random, 2), seconds, part, event);
	else
		line = g_strdup_printf("%16s-%-5u [%03u] %5u.%06u: %s", name, pid, cpu, seconds,
				       part, event);
	if (g_rand_int_range(random, 0, 8) == 0) {
		size_t at = (size_t)g_rand_int_range(random, 0, (int)strlen(line));
		line[at] = "0a :=-(x"[g_rand_int_range(random, 0, 8)];
	}
	return line;
}

/* The same lines twice: as they are, and with so many blanks behind them that no shape holds them,
 * which means nothing to an importer. */
START_TEST(lines_read_by_place_are_those_read_word_by_word)
{
	g_autoptr(GRand) random = g_rand_new_with_seed((guint32)(100 + _i));
	enum form form = (enum form)(_i % FORMS);
	g_autoptr(GString) plain = g_string_new(form == FORM_PERF ? "# perf\n" : "# tracer: nop\n");
	g_autoptr(GString) padded = g_string_new(plain->str);
	GError *error = NULL;
	unsigned micros = 0;

	for (int i = 0; i < LINES; i++) {
		g_autofree char *line = random_line(random, form, &micros);
		g_string_append_printf(plain, "%s\n", line);
		g_string_append_printf(padded, "%-*s\n", SHAPE_BYTES + 1, line);
	}
	struct loaded *one = import_bytes(plain->str, plain->len, true, &error);
	ck_assert_msg(one != NULL, "%s", error ? error->message : "");
	struct loaded *other = import_bytes(padded->str, padded->len, true, &error);
	ck_assert_msg(other != NULL, "%s", error ? error->message : "");
	g_autofree char *difference = story_difference(one, other);
	ck_assert_msg(difference == NULL, "%s", difference);
	ck_assert_uint_eq(one->events->len, other->events->len);
	ck_assert_uint_gt(one->events->len, LINES / 2);
	for (guint i = 0; i < one->events->len; i++)
		ck_assert_uint_eq(g_array_index(one->events, struct event, i).time_ns,
				  g_array_index(other->events, struct event, i).time_ns);
	loaded_free(one);
	loaded_free(other);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("import lines");
	TCase *tcase = tcase_create("lines");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, digits_are_those_of_a_plain_loop);
	tcase_add_test(tcase, words_end_where_they_end);
	tcase_add_test(tcase, items_are_sorted_and_equal_ones_keep_their_order);
	tcase_add_test(tcase, a_shape_takes_what_differs_in_digits_alone);
	tcase_add_test(tcase, no_shape_is_made_of_what_it_cannot_hold);
	tcase_add_loop_test(tcase, lines_read_by_place_are_those_read_word_by_word, 0, 2 * FORMS);
	suite_add_tcase(suite, tcase);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
