/* What holds for every generator of the registry: bad parameters, valid traces, the same bytes. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include "tests/generate/generate_support.h"
#include "workloads/random.h"

/* A folder with the path of a trace in it. */
struct place {
	char *folder, *path;
};

static struct place place_new(void)
{
	char *folder = make_folder();
	return (struct place){ folder, g_build_filename(folder, "x.kmt", NULL) };
}

static void place_free(struct place *place)
{
	remove_folder(place->folder);
	g_free(place->path);
}

static bool is_empty(const char *folder)
{
	GDir *dir = g_dir_open(folder, 0, NULL);
	bool empty = g_dir_read_name(dir) == NULL;
	g_dir_close(dir);
	return empty;
}

/* So that no generator takes long. */
static const char *small(const struct generator *generator)
{
	return strcmp(generator->family, "frames") == 0 ? "ram=16M" : "";
}

static GBytes *bytes_of(const struct generator *generator, uint64_t seed)
{
	struct generate_options options;
	struct place place = place_new();
	g_autoptr(GError) error = NULL;
	char *content;
	gsize bytes;

	options_of(generator, small(generator), seed, &options);
	ck_assert_msg(generate(generator, &options, place.path, &error), "%s: %s", generator->name,
		      error ? error->message : "");
	ck_assert(g_file_get_contents(place.path, &content, &bytes, NULL));
	options_free(&options);
	place_free(&place);
	return g_bytes_new_take(content, bytes);
}

START_TEST(the_same_seed_gives_the_same_bytes_and_another_one_others)
{
	const struct generator *generator = generators[_i];
	g_autoptr(GBytes) first = bytes_of(generator, 1);
	g_autoptr(GBytes) again = bytes_of(generator, 1);
	g_autoptr(GBytes) other = bytes_of(generator, 2);

	ck_assert_msg(g_bytes_equal(first, again), "%s: not deterministic", generator->name);
	ck_assert_msg(!g_bytes_equal(first, other), "%s: the seed does nothing", generator->name);
}
END_TEST

START_TEST(presets_are_possible_and_read_back_from_their_text)
{
	const struct generator *generator = generators[_i];
	struct generate_options options, again;
	unsigned count = 0;

	generate_defaults(generator, &options);
	generate_defaults(generator, &again);
	for (const struct generate_parameter *row = generator->parameters; row->key; row++) {
		g_autofree char *value = generate_value_text(row, options.value[count]);
		g_autofree char *text = g_strdup_printf("%s=%s", row->key, value);
		again.value[count] = 0;
		ck_assert_msg(generate_set(generator, &again, text, NULL), "%s: %s",
			      generator->name, text);
		ck_assert_uint_eq(again.value[count], options.value[count]);
		ck_assert_msg(strcmp(row->meaning, "") != 0, "%s", row->key);
		count++;
	}
	ck_assert_uint_lt(count, GENERATE_PARAMETERS_MOST);
	ck_assert_uint_ge(count, GENERATE_OWN);
	ck_assert_str_eq(generator->parameters[GENERATE_RAM].key, "ram");
	ck_assert_str_eq(generator->parameters[GENERATE_GAP].key, "gap");
	ck_assert(!generator->problem || !generator->problem(options.value));
	ck_assert_ptr_eq(generator_find(generator->name), generator);
}
END_TEST

static void assert_refused(const struct generator *generator, const char *text, const char *word)
{
	struct generate_options options, before;
	g_autoptr(GError) error = NULL;

	generate_defaults(generator, &options);
	before = options;
	ck_assert_msg(!generate_set(generator, &options, text, &error), "%s takes %s",
		      generator->name, text);
	ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_USAGE));
	ck_assert_msg(strstr(error->message, word) != NULL, "%s", error->message);
	ck_assert_mem_eq(options.value, before.value, sizeof(options.value));
}

START_TEST(values_out_of_range_are_refused_by_name)
{
	static const char *const wrong[] = { "",
					     "x",
					     "-1",
					     "1x",
					     "1.2345",
					     ".",
					     "1.",
					     "0x10",
					     "1 ",
					     " 1",
					     "99999999999999999999999",
					     "1KK" };
	const struct generator *generator = generators[_i];

	for (const struct generate_parameter *row = generator->parameters; row->key; row++) {
		for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
			g_autofree char *text = g_strdup_printf("%s=%s", row->key, wrong[i]);
			assert_refused(generator, text, row->key);
		}
		g_autofree char *most = generate_value_text(row, row->most + 1);
		g_autofree char *above = g_strdup_printf("%s=%s", row->key, most);
		assert_refused(generator, above, row->key);
		if (row->least == 0)
			continue;
		g_autofree char *least = generate_value_text(row, row->least - 1);
		g_autofree char *below = g_strdup_printf("%s=%s", row->key, least);
		assert_refused(generator, below, row->key);
	}
	assert_refused(generator, "frobnicate=1", "frobnicate");
	assert_refused(generator, "ram", "key=value");
	assert_refused(generator, "=1", "''");
	assert_refused(generator, "", "key=value");
}
END_TEST

START_TEST(decimals_and_units_are_exact)
{
	static const struct {
		const char *text;
		unsigned place;
		uint64_t want;
	} cases[] = {
		{ "size-alpha=1", 5, 100 },    { "size-alpha=1.5", 5, 150 },
		{ "size-alpha=0.01", 5, 1 },   { "size-alpha=10.00", 5, 1000 },
		{ "max-bytes=64k", 4, 65536 }, { "max-bytes=1G", 4, 1 << 30 },
		{ "ram=4M", 0, 4 << 20 },
	};
	const struct generator *generator = generator_find("power-law");

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct generate_options options;
		generate_defaults(generator, &options);
		ck_assert_msg(generate_set(generator, &options, cases[i].text, NULL), "%s",
			      cases[i].text);
		ck_assert_msg(options.value[cases[i].place] == cases[i].want, "%s", cases[i].text);
	}
}
END_TEST

/* From the least to four times the preset, small where that decides how much work it is. */
static uint64_t any_value(const struct generate_parameter *row, struct random *random)
{
	static const struct {
		const char *key;
		uint64_t most;
	} limits[] = {
		{ "ram", 16 << 20 }, { "live", 32768 },	 { "touches", 100 }, { "max-pages", 500 },
		{ "buffer", 100 },   { "workers", 50 },	 { "depth", 100 },   { "peak", 1000 },
		{ "word", 16 },	     { "largest", 512 }, { "heap", 1000 },   { "events", 5000 },
		{ "slots", 200 },    { "rounds", 3 },	 { "probes", 100 },  { "forks", 100 },
		{ "requests", 200 }, { "compiles", 20 },
	};
	uint64_t most = MIN(row->most, MAX(4 * row->preset, row->least + 4));

	for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++)
		if (strcmp(row->key, limits[i].key) == 0)
			most = MAX(row->least, MIN(most, limits[i].most));
	if (random_below(random, 4) == 0)
		return row->least;
	uint64_t value = row->least + random_below(random, most - row->least + 1);
	/* Where only powers of two are possible. */
	if (strcmp(row->key, "word") == 0 || strcmp(row->key, "largest") == 0 ||
	    (strcmp(row->key, "live") == 0 && strcmp(row->unit, "bytes") == 0))
		return UINT64_C(1) << (63 - __builtin_clzll(value));
	return value;
}

START_TEST(any_parameters_give_a_valid_trace_or_a_refusal)
{
	const struct generator *generator = generators[_i];
	struct random random = random_seeded((uint64_t)_i);
	unsigned written = 0;

	for (unsigned round = 0; round < 16; round++) {
		g_autoptr(GString) text = g_string_new(NULL);
		for (const struct generate_parameter *row = generator->parameters; row->key;
		     row++) {
			g_autofree char *value = generate_value_text(row, any_value(row, &random));
			g_string_append_printf(text, "%s%s=%s", text->len ? " " : "", row->key,
					       value);
		}
		struct generate_options options;
		options_of(generator, text->str, round, &options);
		bool refused = generator->problem && generator->problem(options.value);
		options_free(&options);
		if (refused)
			continue;
		g_array_unref(events_of(generator->name, text->str, round, NULL));
		written++;
	}
	ck_assert_msg(written >= 5, "%s: %u of 16", generator->name, written);
}
END_TEST

START_TEST(parameters_that_do_not_go_together_leave_no_file)
{
	const struct generator *generator = generator_find("larson");
	struct generate_options options;
	struct place place = place_new();
	g_autoptr(GError) error = NULL;

	options_of(generator, "min-bytes=501", 1, &options);
	ck_assert(!generate(generator, &options, place.path, &error));
	ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_USAGE));
	ck_assert_msg(strstr(error->message, "min-bytes") != NULL, "%s", error->message);
	ck_assert(is_empty(place.folder));
	options_free(&options);
	place_free(&place);
}
END_TEST

START_TEST(stopping_leaves_no_file)
{
	const struct generator *generator = generators[_i];
	struct generate_options options;
	struct place place = place_new();
	g_autoptr(GError) error = NULL;
	volatile sig_atomic_t stop = 1;

	options_of(generator, small(generator), 1, &options);
	options.stop = &stop;
	ck_assert_msg(!generate(generator, &options, place.path, &error), "%s", generator->name);
	ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_IO));
	ck_assert_msg(strstr(error->message, "interrupted") != NULL, "%s", error->message);
	ck_assert(is_empty(place.folder));
	options_free(&options);
	place_free(&place);
}
END_TEST

START_TEST(a_folder_that_is_not_there_is_an_error)
{
	const struct generator *generator = generator_find("larson");
	struct generate_options options;
	g_autoptr(GError) error = NULL;

	options_of(generator, "", 1, &options);
	ck_assert(!generate(generator, &options, "/nonexistent/x.kmt", &error));
	ck_assert(g_error_matches(error, TRACE_ERROR, TRACE_ERROR_IO));
	options_free(&options);
}
END_TEST

START_TEST(the_header_says_how_to_make_the_trace_again)
{
	const struct generator *generator = generators[_i];
	struct generate_options options;
	struct place place = place_new();
	g_autoptr(GError) error = NULL;

	options_of(generator, small(generator), 77, &options);
	ck_assert(generate(generator, &options, place.path, &error));
	struct trace_reader *reader = trace_reader_open(place.path, &error);
	ck_assert_ptr_nonnull(reader);
	const struct trace_meta *meta = trace_reader_meta(reader);
	ck_assert_str_eq(meta->source, generator->name);
	ck_assert_ptr_null(meta->source_xxh128);
	ck_assert(g_str_has_prefix(meta->format, "generator, version "));
	ck_assert(g_str_has_suffix(meta->command, " --seed 77"));
	for (const struct generate_parameter *row = generator->parameters; row->key; row++) {
		g_autofree char *key = g_strdup_printf(" %s=", row->key);
		ck_assert_msg(strstr(meta->command, key) != NULL, "%s", meta->command);
	}
	ck_assert_uint_eq(memory_map_usable_frames(meta->memory_map) * 4096,
			  options.value[GENERATE_RAM]);
	trace_reader_free(reader);
	options_free(&options);
	place_free(&place);
}
END_TEST

static Suite *generate_suite(void)
{
	Suite *suite = suite_create("generate");
	int count = 0;

	while (generators[count])
		count++;
	TCase *parameters = tcase_create("parameters");
	tcase_add_loop_test(parameters, presets_are_possible_and_read_back_from_their_text, 0,
			    count);
	tcase_add_loop_test(parameters, values_out_of_range_are_refused_by_name, 0, count);
	tcase_add_test(parameters, decimals_and_units_are_exact);
	suite_add_tcase(suite, parameters);

	TCase *traces = tcase_create("traces");
	tcase_add_loop_test(traces, the_same_seed_gives_the_same_bytes_and_another_one_others, 0,
			    count);
	tcase_add_loop_test(traces, any_parameters_give_a_valid_trace_or_a_refusal, 0, count);
	tcase_add_loop_test(traces, the_header_says_how_to_make_the_trace_again, 0, count);
	suite_add_tcase(suite, traces);

	TCase *failures = tcase_create("failures");
	tcase_add_test(failures, parameters_that_do_not_go_together_leave_no_file);
	tcase_add_loop_test(failures, stopping_leaves_no_file, 0, count);
	tcase_add_test(failures, a_folder_that_is_not_there_is_an_error);
	suite_add_tcase(suite, failures);
	return suite;
}

int main(void)
{
	SRunner *runner = srunner_create(generate_suite());

	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
