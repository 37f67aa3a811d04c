/* The handle table, and an allocator's account held against the ledger. */
#include <check.h>
#include <string.h>

#include "sim/audit.h"
#include "sim/handles.h"
#include "sim/lab.h"

/* ---- handles ---- */

static struct handles handles;

static void make_handles(void)
{
	ck_assert(handles_init(&handles, 10, NULL));
}

static void drop_handles(void)
{
	handles_fini(&handles);
}

static struct handle *live(uint64_t number, uint64_t first, uint32_t frames, uint32_t requested)
{
	struct handle *handle = handles_get(&handles, number);

	*handle = (struct handle){ .first = first,
				   .frames = frames,
				   .requested = requested,
				   .left = requested,
				   .state = HANDLE_LIVE };
	return handle;
}

START_TEST(numbers_beyond_the_table_name_nothing)
{
	ck_assert_ptr_null(handles_get(&handles, 0));
	ck_assert_ptr_null(handles_get(&handles, 10));
	ck_assert_ptr_null(handles_get(&handles, UINT64_MAX));
	ck_assert_ptr_nonnull(handles_get(&handles, 1));
	ck_assert_ptr_nonnull(handles_get(&handles, 9));
	ck_assert_uint_eq(handles_get(&handles, 9)->state, HANDLE_UNUSED);
}
END_TEST

START_TEST(more_handles_than_can_be_named_are_refused)
{
	struct handles many;
	GError *error = NULL;

	ck_assert(!handles_init(&many, 1ull << 40, &error));
	ck_assert(g_error_matches(error, LAB_ERROR, LAB_ERROR_INPUT));
	g_error_free(error);
}
END_TEST

static const struct {
	const char *name;
	uint32_t first, frames;
	bool fine;
} parts[] = {
	{ "first", 0, 1, true },	 { "last", 7, 1, true },
	{ "all", 0, 8, true },		 { "none", 3, 0, false },
	{ "behind", 8, 1, false },	 { "over the end", 7, 2, false },
	{ "far", UINT32_MAX, 1, false }, { "wraps", 1, UINT32_MAX, false },
	{ "the excess", 8, 4, false },
};

START_TEST(parts_lie_within_what_was_asked_for)
{
	struct handle *handle = live(1, 100, 12, 8);
	bool fine = handles_free_part(&handles, 1, parts[_i].first, parts[_i].frames);

	ck_assert_msg(fine == parts[_i].fine, "%s", parts[_i].name);
	ck_assert_uint_eq(handle->left, fine ? 8 - parts[_i].frames : 8);
	if (fine)
		ck_assert(!handles_free_part(&handles, 1, parts[_i].first, 1));
}
END_TEST

static void note_run(void *context, struct frame_block run, uint32_t requested)
{
	g_string_append_printf(context, "%u+%u/%u ", (unsigned)run.first.n, run.frames, requested);
}

static char *runs_of(uint64_t number)
{
	GString *text = g_string_new(NULL);

	handles_live_runs(&handles, number, note_run, text);
	return g_string_free(text, FALSE);
}

static void assert_runs(uint64_t number, const char *wanted)
{
	char *runs = runs_of(number);

	ck_assert_str_eq(runs, wanted);
	g_free(runs);
}

START_TEST(live_runs_are_what_no_part_took)
{
	live(1, 100, 8, 8);
	assert_runs(1, "100+8/8 ");
	ck_assert(handles_free_part(&handles, 1, 2, 2));
	assert_runs(1, "100+2/2 104+4/4 ");
	ck_assert(handles_free_part(&handles, 1, 0, 1));
	assert_runs(1, "101+1/1 104+4/4 ");
	ck_assert(handles_free_part(&handles, 1, 7, 1));
	assert_runs(1, "101+1/1 104+3/3 ");
}
END_TEST

START_TEST(excess_goes_with_the_last_part)
{
	live(1, 100, 8, 5);
	assert_runs(1, "100+8/5 ");
	ck_assert(handles_free_part(&handles, 1, 0, 2));
	assert_runs(1, "102+6/3 ");
	ck_assert(handles_free_part(&handles, 1, 4, 1));
	assert_runs(1, "102+2/2 105+3/0 ");
}
END_TEST

START_TEST(parts_are_forgotten_with_their_handle)
{
	live(1, 100, 4, 4);
	ck_assert(handles_free_part(&handles, 1, 0, 2));
	handles_gone(&handles, 1);
	ck_assert_uint_eq(handles_get(&handles, 1)->state, HANDLE_GONE);
	live(1, 200, 4, 4);
	assert_runs(1, "200+4/4 ");
	ck_assert(handles_free_part(&handles, 1, 0, 2));
}
END_TEST

/* ---- audit ---- */

/* An allocator that is nothing but its account of 0x100 .. 0x1ff. */
static struct account {
	struct frame_extent extent[6];
	unsigned extents;
	struct frame_stats stats;
	bool corrupt;
	int walk_status;
} account;

static int account_walk(const void *state, frame_visit_fn visit, void *ctx)
{
	for (unsigned i = 0; i < account.extents; i++)
		if (visit(ctx, &account.extent[i]))
			return KERR_STOP;
	return account.walk_status;
}

static int account_check(const void *state, struct violation *violation)
{
	if (!account.corrupt)
		return 0;
	*violation = (struct violation){ 7, { 0x123 }, "planted" };
	return KERR_CORRUPT;
}

static void account_stats(const void *state, struct frame_stats *out)
{
	*out = account.stats;
}

static const struct frame_ops account_ops = {
	.name = "account", .walk = account_walk, .check = account_check, .stats = account_stats
};

static struct ledger *ledger;

static void make_account(void)
{
	struct ledger_finding finding;

	ledger = ledger_new(0x400);
	ledger_assign(ledger, 0x80, 0x20, LEDGER_STATE);
	ledger_assign(ledger, 0x100, 0x100, LEDGER_FREE);
	ledger_seal(ledger);
	ck_assert_int_eq(
		ledger_take(ledger, 0x140, 0x10, 0x10, 1, LEDGER_HANDLE_BASE + 1, 0, &finding),
		LEDGER_OK);
	account = (struct account){ .extent = { { { 0x100 }, 0x40, FRAME_FREE },
						{ { 0x140 }, 0x10, FRAME_USED },
						{ { 0x150 }, 0xb0, FRAME_FREE } },
				    .extents = 3,
				    .stats = { .managed_frames = 0x100, .free_frames = 0xf0 } };
}

static void drop_account(void)
{
	ledger_free(ledger);
}

static void tell_truth(void)
{
}

static void keep_truth(void)
{
	account.extent[0] = (struct frame_extent){ { 0x100 }, 0x30, FRAME_FREE };
	account.extent[1] = (struct frame_extent){ { 0x130 }, 0x20, FRAME_USED };
	account.stats.kept_frames = 0x10;
	account.stats.free_frames = 0xe0;
}

static void lose_frames(void)
{
	keep_truth();
	account.stats.kept_frames = 0;
}

static void call_used_free(void)
{
	account.extent[1].state = FRAME_FREE;
}

static void call_free_used(void)
{
	account.extent[2].state = FRAME_USED;
}

static void go_back(void)
{
	account.extent[2] = (struct frame_extent){ { 0x14f }, 0xb1, FRAME_FREE };
}

static void leave_gap(void)
{
	account.extent[2] = (struct frame_extent){ { 0x151 }, 0xaf, FRAME_FREE };
}

static void leave_used_out(void)
{
	account.extent[1] = account.extent[2];
	account.extents = 2;
}

static void show_state(void)
{
	memmove(&account.extent[1], &account.extent[0], 3 * sizeof(account.extent[0]));
	account.extent[0] = (struct frame_extent){ { 0x80 }, 1, FRAME_USED };
	account.extents = 4;
}

static void show_hole(void)
{
	account.extent[3] = (struct frame_extent){ { 0x200 }, 1, FRAME_FREE };
	account.extents = 4;
}

static void show_beyond_ram(void)
{
	account.extent[3] = (struct frame_extent){ { 1ull << 40 }, 1, FRAME_USED };
	account.extents = 4;
}

static void miscount(void)
{
	account.stats.free_frames++;
}

static void fail_walk(void)
{
	account.walk_status = KERR_CORRUPT;
}

static void corrupt(void)
{
	account.corrupt = true;
}

static const struct {
	const char *name;
	void (*tell)(void);
	const char *kind, *words; /* NULL: nothing to find */
} accounts[] = {
	{ "truth", tell_truth, NULL, NULL },
	{ "truth with kept frames", keep_truth, NULL, NULL },
	{ "lost", lose_frames, "walk", "frame 0x130: lost" },
	{ "used called free", call_used_free, "walk", "frame 0x140: walk() calls a frame free" },
	{ "free called used", call_free_used, "walk", "frame 0x150: lost" },
	{ "going back", go_back, "walk", "not in address order" },
	{ "a gap", leave_gap, "walk", "fewer than the ledger's" },
	{ "used left out", leave_used_out, "walk", "leaves out frames" },
	{ "own state shown", show_state, "walk", "frame 0x80: walk() shows" },
	{ "a hole shown", show_hole, "walk", "frame 0x200: walk() shows" },
	{ "beyond RAM", show_beyond_ram, "walk", "never the allocator's" },
	{ "miscount", miscount, "walk", "stats() and walk() disagree" },
	{ "walk fails", fail_walk, "walk", "walk() failed" },
	{ "check fails", corrupt, "check", "invariant 7 does not hold at frame 0x123: planted" },
};

START_TEST(account_is_held_against_the_ledger)
{
	struct frames frames = { .ops = &account_ops };
	struct audit_finding finding = { 0 };

	accounts[_i].tell();
	bool clean = audit_frames(&frames, ledger, &finding);
	ck_assert_msg(clean == !accounts[_i].kind, "%s: %s", accounts[_i].name, finding.message);
	if (clean)
		return;
	ck_assert_str_eq(finding.kind, accounts[_i].kind);
	ck_assert_msg(strstr(finding.message, accounts[_i].words), "%s: %s", accounts[_i].name,
		      finding.message);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("handles and audits");
	TCase *one = tcase_create("handles");

	tcase_add_checked_fixture(one, make_handles, drop_handles);
	tcase_add_test(one, numbers_beyond_the_table_name_nothing);
	tcase_add_test(one, more_handles_than_can_be_named_are_refused);
	tcase_add_loop_test(one, parts_lie_within_what_was_asked_for, 0, (int)G_N_ELEMENTS(parts));
	tcase_add_test(one, live_runs_are_what_no_part_took);
	tcase_add_test(one, excess_goes_with_the_last_part);
	tcase_add_test(one, parts_are_forgotten_with_their_handle);
	suite_add_tcase(suite, one);

	one = tcase_create("audit");
	tcase_add_checked_fixture(one, make_account, drop_account);
	tcase_add_loop_test(one, account_is_held_against_the_ledger, 0,
			    (int)G_N_ELEMENTS(accounts));
	suite_add_tcase(suite, one);

	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
