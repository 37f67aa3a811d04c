#include "tests/space/scene.h"

#include "sim/trap.h"

/* The kernel under test as a user of its own page tables: entry points of the probed build. */
int probed_table_map(struct tables *t, struct table_root *root, struct vaddr va, struct paddr pa,
		     unsigned level, unsigned rights);
int probed_table_unmap(struct tables *t, struct table_root *root, struct vaddr va, struct vaddr end,
		       table_visit_fn visit, void *context);
int probed_table_protect(struct tables *t, struct table_root *root, struct vaddr va,
			 struct vaddr end, unsigned rights);
bool probed_table_query(struct tables *t, struct table_root *root, struct vaddr va,
			struct table_leaf *leaf);
void probed_table_settle(struct tables *t);

#define BASE	   0x10000000ull /* four pages */
#define BASE_PAGES 4u
#define BASE_END   (BASE + BASE_PAGES * FRAME_BYTES)
#define ZEROS	   0x20000000ull /* two tables' spans of zeros */
#define LARGE	   0x30000000ull /* a large page */
#define FAR	   0x50000000ull /* a page with tables of its own */
#define THIRD_GIB  0x90000000ull /* nothing: for the page of the top table */
#define RW	   (SPACE_READ | SPACE_WRITE)
#define STEAL	   12u

static struct tables *tables_of(const struct rig *rig)
{
	return rig->lab.spaces->tables;
}

static uint64_t span_of(const struct rig *rig)
{
	return table_span(tables_of(rig)->geometry, 1);
}

/* A part of the kernel's half that no table covers yet. */
static struct vaddr kernel_page(const struct rig *rig)
{
	bool small = tables_of(rig)->geometry->depth == 2;

	return (struct vaddr){ small ? 0xf5000000 : 0ull - (3ull << 40) };
}

static void expect(struct scene *scene, int status, const char *what)
{
	if (status != 0 && !scene->failed)
		scene->failed = what;
}

/* ---- frames ---- */

static bool hold(struct rig *rig, struct scene *scene, uint32_t frames, enum frame_zone zone,
		 struct frame_block *block)
{
	struct frame_request request = { .frames = frames,
					 .align_frames = frames,
					 .zone = (uint8_t)zone };

	if (frame_alloc(&rig->lab.spaces->frames, &request, block))
		return false;
	scene->held[scene->helds++] = *block;
	return true;
}

/* What came free last has another owner now. */
static void steal(struct rig *rig, struct scene *scene)
{
	struct frame_block block;

	/* Where there is high memory, tables come from below it and other frames from there. */
	for (unsigned i = 0; i < STEAL; i++)
		if (!hold(rig, scene, 1, FRAME_ZONE_ANY, &block) ||
		    (tables_of(rig)->has_high && !hold(rig, scene, 1, FRAME_ZONE_NORMAL, &block)))
			expect(scene, KERR_NO_MEMORY, "frames to hold");
}

/* ---- the kernel at work, outside of what spaces do ---- */

static void begin(void)
{
	probe_phase(PROBE_KERNEL, NULL);
	trap_kernel_begin();
}

static void end(struct rig *rig)
{
	probed_table_settle(tables_of(rig));
	trap_kernel_end();
	probe_phase(PROBE_OFF, NULL);
}

static void map(struct rig *rig, struct scene *scene, struct table_root *root, struct vaddr va,
		struct paddr pa, unsigned level, unsigned rights)
{
	begin();
	expect(scene, probed_table_map(tables_of(rig), root, va, pa, level, rights), "table_map");
	end(rig);
}

static int ignore(void *context, struct vaddr va, const struct table_leaf *leaf)
{
	(void)context;
	(void)va;
	(void)leaf;
	return 0;
}

static void unmap(struct rig *rig, struct scene *scene, struct table_root *root, struct vaddr va,
		  uint64_t bytes)
{
	begin();
	expect(scene,
	       probed_table_unmap(tables_of(rig), root, va, vaddr_add(va, bytes), ignore, NULL),
	       "table_unmap");
	end(rig);
}

static void protect(struct rig *rig, struct scene *scene, struct table_root *root, struct vaddr va,
		    uint64_t bytes)
{
	begin();
	expect(scene,
	       probed_table_protect(tables_of(rig), root, va, vaddr_add(va, bytes), TABLE_USER),
	       "table_protect");
	end(rig);
}

static void query(struct rig *rig, struct table_root *root, struct vaddr va)
{
	struct table_leaf leaf;

	begin();
	(void)probed_table_query(tables_of(rig), root, va, &leaf);
	end(rig);
}

/* ---- looking ---- */

static void user(struct rig *rig, struct space *space, uint64_t va, bool write)
{
	uint64_t value = va;

	/* Reading finds other frames; writing, what may be written no more. What is refused drops
	 * what the CPU had: it is cached again by the next reading. */
	(void)rig_touch(rig, space, va, MMU_READ, &value);
	if (write)
		(void)rig_touch(rig, space, va, MMU_WRITE, &value);
	(void)rig_touch(rig, space, va, MMU_READ, &value);
}

static void users_look(struct rig *rig, struct space *space, bool write)
{
	for (unsigned i = 0; i < BASE_PAGES; i++)
		user(rig, space, BASE + i * FRAME_BYTES, write);
	for (unsigned i = 0; i < 2; i++) {
		user(rig, space, ZEROS + i * span_of(rig), false);
		user(rig, space, ZEROS + i * span_of(rig) + 5 * FRAME_BYTES, false);
		user(rig, space, LARGE + 5 * i * FRAME_BYTES, write);
	}
	user(rig, space, FAR, write);
}

static void kernel_looks(struct rig *rig, struct table_root *root)
{
	static const uint64_t places[] = { BASE, ZEROS, LARGE, FAR, THIRD_GIB };

	for (unsigned i = 0; i < G_N_ELEMENTS(places); i++)
		query(rig, root, (struct vaddr){ places[i] });
	query(rig, root, (struct vaddr){ ZEROS + span_of(rig) });
	query(rig, root, kernel_page(rig));
}

/* What is its own first: where foreign tables are reached by a load of CR3, that forgets the rest.
 * Then all of it once more, so that everything is cached when the next step begins. */
static void look_as(struct rig *rig, struct scene *scene, unsigned cpu)
{
	struct mmu_access access = { .kind = MMU_READ, .context = MMU_SUPERVISOR };
	struct space *space = scene->runs[cpu];
	struct space *other = space == scene->a ? scene->b : scene->a;
	struct mmu_fault fault;
	uint64_t value;

	machine_set_cpu(rig->machine, cpu);
	space_lab_switch(&rig->lab, space);
	users_look(rig, space, true);
	(void)mmu_read(rig->machine->cpu[cpu], kernel_page(rig), &value, 8, access, &fault);
	kernel_looks(rig, &space->root);
	query(rig, &tables_of(rig)->kernel, kernel_page(rig));
	if (other)
		kernel_looks(rig, &other->root);
	users_look(rig, space, false);
	kernel_looks(rig, &space->root);
}

static void look(struct rig *rig, struct scene *scene)
{
	for (unsigned turn = 0; turn < SCENE_CPUS && !scene->failed; turn++)
		look_as(rig, scene, scene->first ^ turn);
	machine_set_cpu(rig->machine, 0);
}

/* ---- steps ---- */

static void map_regions(struct rig *rig, struct scene *scene, struct space *space)
{
	expect(scene, space_lab_map(&rig->lab, space, BASE, BASE_END, RW), "mmap");
	expect(scene, space_lab_map(&rig->lab, space, FAR, FAR + FRAME_BYTES, RW), "mmap");
	expect(scene, space_lab_map(&rig->lab, space, ZEROS, ZEROS + 2 * span_of(rig), RW), "mmap");
}

static void a_space_begins(struct rig *rig, struct scene *scene)
{
	expect(scene, space_lab_new(&rig->lab, &scene->a), "spawn");
	if (scene->failed)
		return;
	map_regions(rig, scene, scene->a);
	scene->runs[0] = scene->runs[1] = scene->a;
}

static void it_forks(struct rig *rig, struct scene *scene)
{
	expect(scene, space_lab_fork(&rig->lab, scene->a, &scene->b), "fork");
}

/* Every CPU has read the page, as it may at any time, when one of them gets a copy for writing. */
static void share_and_copy(struct rig *rig, struct scene *scene, struct space *space)
{
	const struct mmu_fault write = { MMU_PF, X86_PF_P | X86_PF_W | X86_PF_U, { BASE } };
	struct space_report report;
	struct space *child;
	uint64_t value;

	expect(scene, space_lab_fork(&rig->lab, space, &child), "fork");
	if (scene->failed)
		return;
	for (unsigned cpu = SCENE_CPUS; cpu-- > 0;) {
		machine_set_cpu(rig->machine, cpu);
		if (scene->runs[cpu] == space)
			(void)rig_touch(rig, space, BASE, MMU_READ, &value);
	}
	expect(scene, space_lab_fault(&rig->lab, space, &write, &report), "a write");
	space_lab_free(&rig->lab, child);
}

static void a_page_is_copied(struct rig *rig, struct scene *scene)
{
	share_and_copy(rig, scene, scene->a);
}

static void a_foreign_page_is_copied(struct rig *rig, struct scene *scene)
{
	share_and_copy(rig, scene, scene->b);
}

static void the_child_is_run_elsewhere(struct rig *rig, struct scene *scene)
{
	scene->runs[1] = scene->b;
}

static void pages_are_protected(struct rig *rig, struct scene *scene)
{
	expect(scene, space_lab_protect(&rig->lab, scene->a, BASE, BASE_END, SPACE_READ),
	       "mprotect");
}

static void pages_are_made_writable(struct rig *rig, struct scene *scene)
{
	expect(scene, space_lab_protect(&rig->lab, scene->a, BASE, BASE_END, RW), "mprotect");
}

static void a_foreign_page_is_protected(struct rig *rig, struct scene *scene)
{
	expect(scene, space_lab_protect(&rig->lab, scene->b, BASE, BASE_END, SPACE_READ),
	       "mprotect");
}

static void a_page_is_unmapped(struct rig *rig, struct scene *scene)
{
	expect(scene,
	       space_lab_unmap(&rig->lab, scene->a, BASE + FRAME_BYTES, BASE + 2 * FRAME_BYTES),
	       "munmap");
}

static void a_foreign_table_goes(struct rig *rig, struct scene *scene)
{
	expect(scene, space_lab_unmap(&rig->lab, scene->b, FAR, FAR + FRAME_BYTES), "munmap");
	steal(rig, scene);
}

static void a_foreign_table_comes(struct rig *rig, struct scene *scene)
{
	expect(scene, space_lab_map(&rig->lab, scene->b, FAR, FAR + FRAME_BYTES, RW), "mmap");
}

static void both_run_it(struct rig *rig, struct scene *scene)
{
	scene->runs[1] = scene->a;
}

static void its_table_goes(struct rig *rig, struct scene *scene)
{
	expect(scene, space_lab_unmap(&rig->lab, scene->a, BASE, BASE_END), "munmap");
	expect(scene, space_lab_unmap(&rig->lab, scene->a, FAR, FAR + FRAME_BYTES), "munmap");
	steal(rig, scene);
}

static void another_table_comes(struct rig *rig, struct scene *scene)
{
	expect(scene, space_lab_map(&rig->lab, scene->a, BASE, BASE_END, RW), "mmap");
	expect(scene, space_lab_map(&rig->lab, scene->a, FAR, FAR + FRAME_BYTES, RW), "mmap");
}

static void a_shared_zero_table_is_written(struct rig *rig, struct scene *scene)
{
	uint64_t value = 6;

	expect(scene,
	       rig_touch(rig, scene->a, ZEROS + 5 * FRAME_BYTES, MMU_WRITE, &value) != TOUCH_DONE,
	       "a write");
}

static void a_shared_zero_table_is_cut(struct rig *rig, struct scene *scene)
{
	uint64_t at = ZEROS + span_of(rig) + 5 * FRAME_BYTES;

	expect(scene, space_lab_unmap(&rig->lab, scene->a, at, at + FRAME_BYTES), "munmap");
}

static void zeros_go(struct rig *rig, struct scene *scene)
{
	expect(scene, space_lab_unmap(&rig->lab, scene->a, ZEROS, ZEROS + 2 * span_of(rig)),
	       "munmap");
	steal(rig, scene);
}

static void zeros_come_and_go_unwritten(struct rig *rig, struct scene *scene)
{
	uint64_t end = ZEROS + span_of(rig), value;

	expect(scene, space_lab_map(&rig->lab, scene->a, ZEROS, end, RW), "mmap");
	user(rig, scene->a, ZEROS, false);
	expect(scene, rig_touch(rig, scene->a, ZEROS, MMU_READ, &value) != TOUCH_DONE, "a read");
	expect(scene, space_lab_unmap(&rig->lab, scene->a, ZEROS, end), "munmap");
}

static void a_large_page_comes(struct rig *rig, struct scene *scene)
{
	map(rig, scene, &scene->a->root, (struct vaddr){ LARGE }, pfn_to_paddr(scene->large.first),
	    1, TABLE_USER | TABLE_WRITE);
}

static void a_large_page_is_cut(struct rig *rig, struct scene *scene)
{
	unmap(rig, scene, &scene->a->root, (struct vaddr){ LARGE + 5 * FRAME_BYTES }, FRAME_BYTES);
}

static void a_large_page_is_cut_by_rights(struct rig *rig, struct scene *scene)
{
	protect(rig, scene, &scene->a->root, (struct vaddr){ LARGE }, 5 * FRAME_BYTES);
}

static void its_pieces_go(struct rig *rig, struct scene *scene)
{
	unmap(rig, scene, &scene->a->root, (struct vaddr){ LARGE }, span_of(rig));
	steal(rig, scene);
}

static void a_large_page_is_protected(struct rig *rig, struct scene *scene)
{
	protect(rig, scene, &scene->a->root, (struct vaddr){ LARGE }, span_of(rig));
}

static void a_table_comes_in_its_place(struct rig *rig, struct scene *scene)
{
	map(rig, scene, &scene->a->root, (struct vaddr){ LARGE },
	    pfn_to_paddr(pfn_add(scene->large.first, 7)), 0, TABLE_USER);
}

static void the_kernel_maps(struct rig *rig, struct scene *scene)
{
	map(rig, scene, &tables_of(rig)->kernel, kernel_page(rig),
	    pfn_to_paddr(pfn_add(scene->large.first, scene->kernel_page ? 9 : 8)), 0,
	    TABLE_WRITE | TABLE_GLOBAL);
	scene->kernel_page = true;
}

static void the_kernel_unmaps(struct rig *rig, struct scene *scene)
{
	unmap(rig, scene, &tables_of(rig)->kernel, kernel_page(rig), FRAME_BYTES);
	steal(rig, scene);
}

static void the_child_exits(struct rig *rig, struct scene *scene)
{
	space_lab_free(&rig->lab, scene->b);
	scene->b = NULL;
	steal(rig, scene);
}

static void another_child_comes(struct rig *rig, struct scene *scene)
{
	expect(scene, space_lab_new(&rig->lab, &scene->b), "spawn");
	if (scene->failed)
		return;
	map_regions(rig, scene, scene->b);
	scene->runs[1] = scene->b;
}

/* Whatever number a space had that is gone, one of these gets it; every page of its top table is
 * looked at, by whichever CPU may have seen the old one. */
static void more_spaces(struct rig *rig, struct scene *scene)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(scene->more) && !scene->failed; i++) {
		expect(scene, space_lab_new(&rig->lab, &scene->more[i]), "spawn");
		for (unsigned cpu = SCENE_CPUS; !scene->failed && cpu-- > 0;) {
			machine_set_cpu(rig->machine, cpu);
			kernel_looks(rig, &scene->more[i]->root);
		}
	}
}

/* Each CPU copies a page once more: whoever reaches pages through windows uses all of them. */
static void rest(struct rig *rig, struct scene *scene)
{
	uint64_t value = 7;
	struct space *child;

	share_and_copy(rig, scene, scene->a);
	expect(scene, space_lab_fork(&rig->lab, scene->b, &child), "fork");
	if (scene->failed)
		return;
	machine_set_cpu(rig->machine, 1);
	expect(scene, rig_touch(rig, scene->b, BASE, MMU_WRITE, &value) != TOUCH_DONE, "a write");
	machine_set_cpu(rig->machine, 0);
	space_lab_free(&rig->lab, child);
}

static const struct {
	const char *name;
	void (*play)(struct rig *rig, struct scene *scene);
} steps[] = {
	{ "a space begins", a_space_begins },
	{ "fork", it_forks },
	{ "the child runs elsewhere", the_child_is_run_elsewhere },
	{ "copy on write, foreign", a_foreign_page_is_copied },
	{ "protect, foreign", a_foreign_page_is_protected },
	{ "unmap with a table, foreign", a_foreign_table_goes },
	{ "a new table, foreign", a_foreign_table_comes },
	{ "two CPUs in one space", both_run_it },
	{ "copy on write", a_page_is_copied },
	{ "protect", pages_are_protected },
	{ "rights gained", pages_are_made_writable },
	{ "unmap a page", a_page_is_unmapped },
	{ "unmap with tables", its_table_goes },
	{ "new tables", another_table_comes },
	{ "zero table taken apart by a write", a_shared_zero_table_is_written },
	{ "zero table taken apart by an unmap", a_shared_zero_table_is_cut },
	{ "unmap of zero tables", zeros_go },
	{ "zero table linked and unlinked", zeros_come_and_go_unwritten },
	{ "a large page", a_large_page_comes },
	{ "large page split by an unmap", a_large_page_is_cut },
	{ "protect pieces", a_large_page_is_cut_by_rights },
	{ "unmap pieces", its_pieces_go },
	{ "a large page in the place of a table", a_large_page_comes },
	{ "large page split by a protect", a_large_page_is_cut_by_rights },
	{ "unmap pieces again", its_pieces_go },
	{ "a large page once more", a_large_page_comes },
	{ "protect a large page", a_large_page_is_protected },
	{ "unmap a large page", its_pieces_go },
	{ "a table in the place of a large page", a_table_comes_in_its_place },
	{ "unmap the last page", its_pieces_go },
	{ "a kernel page", the_kernel_maps },
	{ "unmap a kernel page", the_kernel_unmaps },
	{ "another kernel page", the_kernel_maps },
	{ "unmap it", the_kernel_unmaps },
	{ "exit", the_child_exits },
	{ "another space", another_child_comes },
	{ "more spaces", more_spaces },
	{ "rest", rest },
};

static void set_out(struct rig *rig, struct scene *scene)
{
	if (!hold(rig, scene, (uint32_t)(span_of(rig) >> X86_PAGE_SHIFT), FRAME_ZONE_ANY,
		  &scene->large))
		expect(scene, KERR_NO_MEMORY, "memory for a large page");
}

void scene_play(struct rig *rig, void *context)
{
	struct scene *scene = context;

	set_out(rig, scene);
	for (unsigned i = 0; i < G_N_ELEMENTS(steps) && !scene->failed && rig->stale == 0; i++) {
		scene->at = steps[i].name;
		scene->resting = i + 1 == G_N_ELEMENTS(steps);
		steps[i].play(rig, scene);
		if (!scene->failed)
			look(rig, scene);
	}
}

void scene_end(struct rig *rig, void *context)
{
	struct scene *scene = context;

	space_lab_free(&rig->lab, scene->a);
	space_lab_free(&rig->lab, scene->b);
	for (unsigned i = 0; i < G_N_ELEMENTS(scene->more); i++)
		space_lab_free(&rig->lab, scene->more[i]);
	while (scene->helds-- > 0)
		if (frame_free(&rig->lab.spaces->frames, &scene->held[scene->helds]))
			expect(scene, KERR_NOT_OWNED, "a frame that was held");
}
