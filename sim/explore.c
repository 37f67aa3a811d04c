/* The search for a schedule that shows a defect, and what is told of it. */
#include "sim/explore.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "alloc/memmap.h"
#include "sim/check_trial.h"
#include "sim/explore_run.h"
#include "sim/lab.h"
#include "sim/run.h"
#include "sim/source_line.h"

#define CHOICES_MAX 4096  /* of one run; beyond, no alternatives are tried */
#define LINES_MAX   80	  /* of a failure */
#define TEXT_BYTES  32768 /* all of them */
#define ALIVE_EVERY 64	  /* schedules */

/* ---- one schedule after the other ---- */

/* Where a run could have gone another way. */
struct choice {
	uint8_t chosen;
	uint8_t untried;  /* bits: CPUs that could be chosen instead */
	uint8_t current;  /* that was running */
	bool preemptible; /* it could have gone on: anybody else costs a preemption */
	uint8_t spent;	  /* preemptions before */
};

struct search {
	unsigned bound; /* preemptions */
	struct choice choice[CHOICES_MAX];
	unsigned length; /* of the path that is to be followed, then of the one that was */
	unsigned at;	 /* next choice of this run */
	unsigned spent;
};

static unsigned lowest(unsigned mask)
{
	return (unsigned)__builtin_ctz(mask);
}

/* An explore_choose_fn. */
static unsigned choose_next(void *context, const struct explore_point *point)
{
	struct search *search = context;
	unsigned chosen = point->can_go_on ? point->cpu : lowest(point->runnable);
	bool preemptible = point->can_go_on;

	if (!point->contended || !(point->runnable & (point->runnable - 1)) ||
	    search->at == CHOICES_MAX)
		return chosen;
	struct choice *choice = &search->choice[search->at];
	if (search->at == search->length) {
		*choice = (struct choice){ .chosen = (uint8_t)chosen,
					   .untried = (uint8_t)(point->runnable & ~(1u << chosen)),
					   .current = (uint8_t)point->cpu,
					   .preemptible = preemptible,
					   .spent = (uint8_t)search->spent };
		search->length++;
	}
	search->at++;
	chosen = choice->chosen;
	search->spent += preemptible && chosen != point->cpu;
	return chosen;
}

/* The next path in depth-first order; false: there is none with so few preemptions. */
static bool advance(struct search *search)
{
	while (search->length) {
		struct choice *choice = &search->choice[search->length - 1];
		unsigned cost = choice->spent + choice->preemptible;
		if (choice->untried && cost <= search->bound) {
			choice->chosen = (uint8_t)lowest(choice->untried);
			choice->untried &= (uint8_t)(choice->untried - 1);
			return true;
		}
		search->length--;
	}
	return false;
}

/* ---- a scenario ---- */

/* What both processes see. */
struct explore_shared {
	bool done, failed;
	uint64_t scenarios, refused, schedules, accesses, cut;
	unsigned preemptions;
	guint from, left;
	unsigned index; /* of the scenario */
	struct explore_outcome outcome;
	char where[1024];
	unsigned line_count;
	gsize text_bytes;
	char text[TEXT_BYTES]; /* lines, each with its NUL */
	char error[512];       /* of the lab */
};

struct hunt {
	const struct explore_config *config;
	struct frame_config frame_config;
	struct explore_shared *shared;
	struct explore_scenario *scenario; /* from a file, with its order; NULL: all there are */
	struct explore_order order;
	struct search search;
};

enum ending { ALL_PLAYED = 0, CUT, FAILED, REFUSED, BROKEN };

/* All schedules with so many preemptions at most. */
static enum ending play_bound(struct hunt *hunt, struct explore_player *player, uint64_t *played,
			      struct explore_outcome *outcome)
{
	struct search *search = &hunt->search;
	bool more = true;

	search->length = 0;
	while (more) {
		if (*played == hunt->config->schedules)
			return CUT;
		if (*played % ALIVE_EVERY == 0)
			trial_alive();
		search->at = search->spent = 0;
		explore_play(player, choose_next, search, outcome, NULL);
		(*played)++;
		hunt->shared->accesses += outcome->accesses;
		if (outcome->failed)
			return FAILED;
		if (outcome->learned)
			search->length = 0; /* other words to stop at: from the beginning */
		else
			more = advance(search);
	}
	return ALL_PLAYED;
}

static enum ending play_scenario(struct hunt *hunt, const struct explore_scenario *scenario,
				 unsigned bound, struct explore_outcome *outcome)
{
	GError *error = NULL;
	uint64_t played = 0;
	enum ending ending = ALL_PLAYED;
	struct explore_player *player =
		explore_player_new(hunt->config->frames, &hunt->frame_config, scenario, &error);

	if (!player) {
		ending = g_error_matches(error, LAB_ERROR, LAB_ERROR_BOOT) ? REFUSED : BROKEN;
		g_strlcpy(hunt->shared->error, error->message, sizeof(hunt->shared->error));
		g_error_free(error);
		return ending;
	}
	for (unsigned k = 0; k <= bound && ending == ALL_PLAYED; k++) {
		hunt->search.bound = hunt->shared->preemptions = k;
		ending = play_bound(hunt, player, &played, outcome);
	}
	explore_player_free(player);
	hunt->shared->schedules += played;
	return ending;
}

/* ---- smaller ---- */

/* The scenario without one operation, and what makes no sense without it. */
static struct explore_scenario *without(const struct explore_scenario *scenario, guint index)
{
	struct explore_scenario *fewer = explore_scenario_copy(scenario);

	g_array_remove_index(fewer->ops, index);
	explore_scenario_make_valid(fewer->ops);
	return fewer;
}

/* Drops operations as long as the same kind of defect shows within as many preemptions. */
static struct explore_scenario *shrink(struct hunt *hunt, const struct explore_scenario *scenario,
				       struct explore_outcome *outcome)
{
	struct explore_scenario *best = explore_scenario_copy(scenario);
	unsigned bound = hunt->shared->preemptions;

	for (guint i = best->ops->len; i-- > 0;) {
		struct explore_scenario *fewer = without(best, MIN(i, best->ops->len - 1));
		struct explore_outcome now;
		if (play_scenario(hunt, fewer, bound, &now) == FAILED &&
		    strcmp(now.kind, outcome->kind) == 0) {
			explore_scenario_free(best);
			best = fewer;
			*outcome = now;
			bound = hunt->shared->preemptions;
		} else {
			explore_scenario_free(fewer);
		}
	}
	hunt->shared->preemptions = bound;
	return best;
}

/* ---- playing what is written ---- */

struct playback {
	const struct explore_order *order;
	unsigned at;
};

/* An explore_choose_fn. */
static unsigned choose_written(void *context, const struct explore_point *point)
{
	struct playback *playback = context;
	const struct explore_order *order = playback->order;
	const struct explore_segment *segment = &order->segment[playback->at];
	unsigned fallback = point->can_go_on ? point->cpu : lowest(point->runnable);

	if (playback->at >= order->count)
		return fallback;
	if (point->begins)
		return (unsigned)segment->cpu;
	if (point->can_go_on &&
	    (segment->accesses == EXPLORE_ALL || point->accesses < segment->accesses))
		return point->cpu;
	playback->at++;
	segment++;
	if (playback->at < order->count && (point->runnable >> segment->cpu & 1))
		return (unsigned)segment->cpu;
	return fallback;
}

/* ---- words ---- */

static void add_line(struct explore_shared *shared, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void add_line(struct explore_shared *shared, const char *format, ...)
{
	gsize left = TEXT_BYTES - shared->text_bytes;
	va_list arguments;

	if (left < 300 || shared->line_count >= LINES_MAX)
		return;
	va_start(arguments, format);
	int length = vsnprintf(shared->text + shared->text_bytes, left, format, arguments);
	va_end(arguments);
	shared->text_bytes += MIN((gsize)length, left - 1) + 1;
	shared->line_count++;
}

static void tell_access(struct explore_shared *shared, const struct explore_player *player,
			const struct explore_access *access)
{
	static const char *const kinds[MMU_KINDS] = { "load", "store", "fetch", "atomic" };
	uint64_t offset = explore_offset(player, access->pointer);
	char *place = source_line((const char *)access->caller - 1);
	char at[32] = "elsewhere";

	if (offset != UINT64_MAX)
		g_snprintf(at, sizeof(at), "state+%" PRIu64, offset);
	add_line(shared, "    cpu %u  %-6s %2u bytes  %-12s %s", access->cpu, kinds[access->kind],
		 access->bytes, at, place);
	g_free(place);
}

/* Every access to a word that CPUs share, with what operation it belongs to and where CPUs change.
 */
static void tell(struct explore_shared *shared, const struct explore_player *player,
		 const struct explore_scenario *scenario, const GArray *accesses)
{
	unsigned cpu = UINT_MAX;
	int op[EXPLORE_CPUS_MAX];

	memset(op, -1, sizeof(op));
	for (guint i = 0; i < accesses->len; i++) {
		const struct explore_access *access =
			&g_array_index(accesses, struct explore_access, i);
		if (access->cpu != cpu && cpu != UINT_MAX)
			add_line(shared, "  -- CPU %u goes on --", access->cpu);
		cpu = access->cpu;
		if (access->op != op[cpu]) {
			char *text = explore_op_text(
				&g_array_index(scenario->ops, struct explore_op, access->op));
			add_line(shared, "  cpu %u: %s", cpu, text);
			g_free(text);
			op[cpu] = access->op;
		}
		tell_access(shared, player, access);
	}
}

/* Plays ORDER, twice: the first time to learn which words are contended. */
static bool play_back(struct hunt *hunt, const struct explore_scenario *scenario,
		      struct explore_order order)
{
	struct explore_shared *shared = hunt->shared;
	GError *error = NULL;
	struct explore_player *player =
		explore_player_new(hunt->config->frames, &hunt->frame_config, scenario, &error);
	GArray *accesses = g_array_new(FALSE, FALSE, sizeof(struct explore_access));

	if (!player) {
		g_strlcpy(shared->error, error->message, sizeof(shared->error));
		g_error_free(error);
	}
	for (unsigned round = 0; player && round < 2; round++) {
		struct playback playback = { &order, 0 };
		explore_play(player, choose_written, &playback, &shared->outcome,
			     round ? accesses : NULL);
	}
	shared->failed = player && shared->outcome.failed;
	if (shared->failed)
		tell(shared, player, scenario, accesses);
	g_array_unref(accesses);
	if (player)
		explore_player_free(player);
	return player != NULL;
}

static bool save(struct hunt *hunt, const struct explore_scenario *scenario,
		 const struct explore_order *order)
{
	GError *error = NULL;

	if (explore_file_save(hunt->config->output, hunt->config->name, hunt->config->settings,
			      scenario, order, &error))
		return true;
	g_strlcpy(hunt->shared->error, error->message, sizeof(hunt->shared->error));
	g_error_free(error);
	return false;
}

static void say_where(struct explore_shared *shared, const struct explore_scenario *scenario)
{
	char *text = explore_scenario_text(scenario);

	g_strlcpy(shared->where, text, sizeof(shared->where));
	g_free(text);
}

/* ---- in the process of its own ---- */

static bool report_failure(struct hunt *hunt, const struct explore_scenario *scenario)
{
	struct explore_shared *shared = hunt->shared;
	struct explore_outcome kept = shared->outcome;
	struct explore_scenario *fewer = shrink(hunt, scenario, &kept);

	shared->from = scenario->ops->len;
	shared->left = fewer->ops->len;
	say_where(shared, fewer);
	bool fine = save(hunt, fewer, &kept.order) && play_back(hunt, fewer, kept.order);
	shared->failed = true;
	shared->outcome = kept;
	explore_scenario_free(fewer);
	return fine;
}

static bool hunt_all(struct hunt *hunt)
{
	unsigned caps = hunt->config->frames[PASS_NATIVE]->caps;
	struct explore_scenario *scenario;
	bool fine = true;

	for (unsigned i = 0; fine && !hunt->shared->failed &&
			     (scenario = explore_scenario_get(caps, hunt->config->seed, i));
	     i++) {
		say_where(hunt->shared, scenario);
		hunt->shared->index = i;
		enum ending ending = play_scenario(hunt, scenario, hunt->config->preemptions,
						   &hunt->shared->outcome);
		hunt->shared->scenarios++;
		hunt->shared->cut += ending == CUT;
		hunt->shared->refused += ending == REFUSED;
		fine = ending == FAILED ? report_failure(hunt, scenario) : ending != BROKEN;
		explore_scenario_free(scenario);
	}
	return fine;
}

static bool run_hunt(void *argument)
{
	struct hunt *hunt = argument;
	bool fine;

	if (hunt->scenario) {
		say_where(hunt->shared, hunt->scenario);
		fine = play_back(hunt, hunt->scenario, hunt->order);
	} else {
		fine = hunt_all(hunt);
	}
	hunt->shared->done = true;
	return fine;
}

/* ---- outside ---- */

static void take_report(const struct hunt *hunt, struct explore_report *report)
{
	const struct explore_shared *shared = hunt->shared;
	const char *line = shared->text;

	report->scenarios = shared->scenarios;
	report->refused = shared->refused;
	report->schedules = shared->schedules;
	report->accesses = shared->accesses;
	report->cut = shared->cut;
	report->failed = shared->failed;
	if (!shared->failed)
		return;
	report->preemptions = shared->preemptions;
	report->from = shared->from;
	report->left = shared->left;
	report->where = g_strdup(shared->where);
	report->message = g_strdup_printf("allocator error: %s: %s: %s", hunt->config->name,
					  shared->outcome.kind, shared->outcome.message);
	report->lines = g_ptr_array_new_with_free_func(g_free);
	for (unsigned i = 0; i < shared->line_count; i++) {
		g_ptr_array_add(report->lines, g_strdup(line));
		line += strlen(line) + 1;
	}
}

static char *again(const struct explore_config *config)
{
	const char *path = config->schedule ? config->schedule : config->output;
	char *words[] = { (char *)(uintptr_t) "check", (char *)(uintptr_t)path,
			  (char *)(uintptr_t) "--frames", (char *)(uintptr_t)config->name, NULL };

	return run_command(words);
}

/* The process ended in the middle: what it was playing is known. */
static bool take_crash(struct hunt *hunt, GError **error)
{
	struct explore_shared *shared = hunt->shared;
	unsigned caps = hunt->config->frames[PASS_NATIVE]->caps;
	struct explore_scenario *scenario =
		hunt->scenario ? NULL
			       : explore_scenario_get(caps, hunt->config->seed, shared->index);

	shared->failed = true;
	shared->outcome.failed = true;
	g_strlcpy(shared->outcome.kind, "crash", sizeof(shared->outcome.kind));
	g_snprintf(shared->outcome.message, sizeof(shared->outcome.message),
		   "the process ended, by a crash of its own or after %u ms in one run",
		   hunt->config->cpu_ms);
	if (!scenario)
		return true;
	shared->from = shared->left = scenario->ops->len;
	bool fine =
		explore_file_save(hunt->config->output, hunt->config->name, hunt->config->settings,
				  scenario, &shared->outcome.order, error);
	explore_scenario_free(scenario);
	return fine;
}

static bool explore_in_process(struct hunt *hunt, GError **error)
{
	bool fine = trial_guard(run_hunt, hunt, hunt->config->cpu_ms);

	if (!hunt->shared->done)
		return take_crash(hunt, error);
	if (!fine)
		g_set_error(error, LAB_ERROR, LAB_ERROR_INPUT, "%s", hunt->shared->error);
	return fine;
}

/* Settings of a file come before those that were given. */
static bool prepare(struct hunt *hunt, GError **error)
{
	const struct explore_config *config = hunt->config;
	const struct frame_ops *ops = config->frames[PASS_NATIVE];
	char **settings = NULL;
	bool fine = true;

	if (!config->frames[PASS_PROBED])
		return lab_usage(error, "%s has no probed build: its CPUs cannot be switched",
				 config->name);
	frame_config_defaults(ops, &hunt->frame_config);
	hunt->frame_config.seed = config->seed;
	if (config->schedule) {
		hunt->scenario =
			explore_file_load(config->schedule, &settings, &hunt->order, error);
		fine = hunt->scenario != NULL;
	}
	for (char **setting = settings; fine && setting && *setting; setting++)
		fine = run_set_frames(ops, &hunt->frame_config, *setting, error);
	for (char **setting = config->settings; fine && setting && *setting; setting++)
		fine = run_set_frames(ops, &hunt->frame_config, *setting, error);
	g_strfreev(settings);
	return fine;
}

bool explore_frames(const struct explore_config *config, struct explore_report *report,
		    GError **error)
{
	struct hunt *hunt = g_new0(struct hunt, 1);
	bool fine = false;

	*report = (struct explore_report){ 0 };
	hunt->config = config;
	hunt->shared = mmap(NULL, sizeof(*hunt->shared), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (hunt->shared == MAP_FAILED) {
		lab_set_errno(error, "memory for an exploration");
	} else {
		fine = prepare(hunt, error) && explore_in_process(hunt, error);
		if (fine)
			take_report(hunt, report);
		if (fine && report->failed)
			report->command = again(config);
		munmap(hunt->shared, sizeof(*hunt->shared));
	}
	explore_scenario_free(hunt->scenario);
	g_free(hunt);
	return fine;
}

void explore_report_clear(struct explore_report *report)
{
	g_free(report->where);
	g_free(report->message);
	g_free(report->command);
	g_clear_pointer(&report->lines, g_ptr_array_unref);
}
