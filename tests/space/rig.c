#include "tests/space/rig.h"

#include <check.h>
#include <string.h>

#include "sim/trap.h"

static void on_report(void *context, const char *kind, uint64_t frame, const char *message)
{
	struct rig *rig = context;

	if (rig->reports++ == 0)
		g_snprintf(rig->first, sizeof(rig->first), "%s: %s", kind, message);
}

static void on_stale(void *context, const struct mmu_stale *stale)
{
	struct rig *rig = context;

	rig->stale++;
}

static void on_probe(void *context, const struct probe_finding *finding)
{
	struct rig *rig = context;

	if (strcmp(finding->kind, "stale") == 0)
		rig->stale++;
	on_report(context, finding->kind, finding->frame, finding->message);
}

/* By address: DONE may be what sets it. */
static void want(bool done, GError **error)
{
	ck_assert_msg(done, "%s", *error ? (*error)->message : "no reason");
}

static void make_tlb_large(struct machine_config *config, unsigned sets)
{
	static const char *const caches[] = { "l1d_4k", "l1i_4k", "l1d_2m", "l1i_2m" };
	static const char *const walks[] = { "psc_pde", "psc_pdpte", "psc_pml4e" };
	char key[40];

	for (unsigned i = 0; i < G_N_ELEMENTS(caches); i++) {
		g_snprintf(key, sizeof(key), "%s.sets", caches[i]);
		ck_assert(mmu_config_set(&config->mmu, key, sets));
		g_snprintf(key, sizeof(key), "%s.ways", caches[i]);
		ck_assert(mmu_config_set(&config->mmu, key, 8));
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(walks); i++) {
		g_snprintf(key, sizeof(key), "%s.ways", walks[i]);
		ck_assert(mmu_config_set(&config->mmu, key, 64));
	}
	ck_assert_msg(!mmu_config_problem(&config->mmu), "%s", mmu_config_problem(&config->mmu));
}

static void boot_books(struct rig *rig)
{
	const struct boot_result *boot = &rig->machine->boot;

	rig->ledger = ledger_new(rig->machine->ram.size >> X86_PAGE_SHIFT);
	for (uint32_t i = 0; i < boot->map.count; i++)
		ledger_assign(rig->ledger, boot->map.ranges[i].first.n, boot->map.ranges[i].frames,
			      LEDGER_FREE);
	for (guint i = 0; i < rig->machine->usable->len; i++) {
		const struct frame_range *range =
			&g_array_index(rig->machine->usable, struct frame_range, i);
		ledger_assign_holes(rig->ledger, range->first.n, range->frames, LEDGER_TABLE);
	}
	ledger_assign(rig->ledger, boot->state_range.first.n, boot->state_range.frames,
		      LEDGER_STATE);
	ledger_seal(rig->ledger);
	rig->free_at_start = ledger_totals(rig->ledger)->free_frames;
}

static void start(struct rig *rig, void *context)
{
	ck_assert_int_eq(space_lab_start(&rig->lab, &rig->choice), 0);
}

struct rig *rig_new(const struct rig_config *c)
{
	struct rig *rig = g_new0(struct rig, 1);
	const struct frame_ops *frames =
		kernels[c->pass].frame_find(c->frames ? c->frames : "buddy");
	const struct probe probe = { .frames = frames, .report = on_probe, .context = rig };
	const struct mmu_checker checker = { .context = rig, .stale = on_stale };
	struct frame_config frame_config;
	GError *error = NULL;

	rig->config = machine_config_new("pc-512m", NULL);
	want(machine_config_set(rig->config, "arch", strchr(c->mode, 'l') ? "x86_64" : "i386",
				&error) &&
		     machine_config_set(rig->config, "paging", c->mode, &error) &&
		     machine_config_set(rig->config, "layout", c->layout ? c->layout : "classic",
					&error) &&
		     machine_config_set(rig->config, "highmem", c->highmem ? "on" : "off",
					&error) &&
		     machine_config_resize(rig->config, c->ram_bytes ? c->ram_bytes : 32u << 20,
					   &error),
	     &error);
	rig->config->cpus = c->cpus ? c->cpus : 1;
	rig->config->stale_check = true;
	if (c->no_pse)
		ck_assert(mmu_config_set(&rig->config->mmu, "features.pse36", 0) &&
			  mmu_config_set(&rig->config->mmu, "features.pse", 0) &&
			  machine_config_set(rig->config, "leaf", "4K", NULL));
	if (c->large_tlb)
		make_tlb_large(rig->config, c->tlb_sets ? c->tlb_sets : 256);
	want(space_choice_find(&rig->choice, c->tables, c->spaces, &error), &error);
	char **settings = g_strsplit(c->setting ? c->setting : "", " ", 0);
	for (char **at = settings; *at; at++)
		want(space_choice_set(&rig->choice, *at, &error), &error);
	g_strfreev(settings);
	rig->machine = machine_new(rig->config, &error);
	want(rig->machine != NULL, &error);
	want(space_lab_make_room(rig->machine, frames, &rig->choice, c->pass, &error), &error);
	machine_enter(rig->machine);
	if (c->pass == PASS_PROBED) {
		struct probe watched = probe;
		watched.machine = rig->machine;
		probe_begin(&watched);
		probe_phase(PROBE_BOOT, NULL);
	}
	frame_config_defaults(frames, &frame_config);
	frame_config.cpus = rig->config->cpus;
	want(machine_boot(rig->machine, kernels[c->pass].boot, frames, &frame_config, &error),
	     &error);
	boot_books(rig);
	probe_phase(PROBE_OFF, NULL);
	if (c->pass == PASS_PROBED)
		probe_set_ledger(rig->ledger);
	for (unsigned i = 0; c->pass == PASS_NATIVE && i < rig->config->cpus; i++)
		mmu_set_checker(rig->machine->cpu[i], &checker);
	space_lab_init(&rig->lab, rig->machine, c->pass, &rig->machine->boot.frames, rig->ledger,
		       LEDGER_HANDLE_BASE + 1);
	rig->lab.report = on_report;
	rig->lab.context = rig;
	rig_run(rig, start, NULL);
	return rig;
}

void rig_free(struct rig *rig)
{
	if (rig->lab.pass == PASS_PROBED)
		probe_end();
	machine_leave();
	ledger_free(rig->ledger);
	machine_free(rig->machine);
	machine_config_free(rig->config);
	g_free(rig);
}

struct call {
	struct rig *rig;
	void (*fn)(struct rig *rig, void *context);
	void *context;
};

static void do_call(void *argument)
{
	struct call *call = argument;

	call->fn(call->rig, call->context);
}

void rig_run(struct rig *rig, void (*fn)(struct rig *rig, void *context), void *context)
{
	struct call call = { rig, fn, context };
	struct trap_report report;

	ck_assert_msg(trap_run(do_call, &call, &report), "%s: %s", report.kind, report.message);
}

bool rig_try(struct rig *rig, void (*fn)(struct rig *rig, void *context), void *context)
{
	struct call call = { rig, fn, context };
	struct trap_report report;

	return trap_run(do_call, &call, &report);
}

void rig_expect_clean(struct rig *rig)
{
	ck_assert_msg(rig->reports == 0, "%s", rig->first);
	ck_assert_uint_eq(rig->stale, 0);
}

static void stop(struct rig *rig, void *context)
{
	space_lab_audit(&rig->lab);
	space_lab_stop(&rig->lab);
}

void rig_stop(struct rig *rig)
{
	rig_run(rig, stop, NULL);
	rig_expect_clean(rig);
	ck_assert_uint_eq(ledger_totals(rig->ledger)->free_frames + rig->lab.kernel_held,
			  rig->free_at_start);
}

enum space_touch rig_touch(struct rig *rig, struct space *space, uint64_t va, unsigned kind,
			   uint64_t *value)
{
	return space_lab_touch(&rig->lab, space, (struct vaddr){ va }, value, sizeof(*value), kind,
			       NULL, NULL);
}
