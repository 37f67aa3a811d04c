#include "sim/process.h"

#include <inttypes.h>
#include <string.h>

#include "sim/random.h"

void processes_init(struct processes *p, struct space_lab *lab)
{
	*p = (struct processes){
		.lab = lab,
		.by_number = g_hash_table_new_full(NULL, NULL, NULL, g_free),
		.running = g_new0(struct process *, lab->machine->config->cpus),
	};
}

void processes_fini(struct processes *p)
{
	g_clear_pointer(&p->by_number, g_hash_table_unref);
	g_clear_pointer(&p->running, g_free);
}

bool process_event_is(unsigned kind)
{
	return kind >= EVENT_SPAWN && kind <= EVENT_TOUCH;
}

/* ---- who ---- */

struct process *process_find(struct processes *p, uint32_t number)
{
	if (p->last && p->last->number == number)
		return p->last;
	struct process *process = g_hash_table_lookup(p->by_number, GUINT_TO_POINTER(number));
	if (process)
		p->last = process;
	return process;
}

/* A number may come again when its process is gone. */
static struct process *add(struct processes *p, uint32_t number, struct space *space)
{
	struct process *process = process_find(p, number);

	if (!process) {
		process = g_new0(struct process, 1);
		process->number = number;
		g_hash_table_insert(p->by_number, GUINT_TO_POINTER(number), process);
	}
	process->space = space;
	process->state = space ? PROCESS_LIVE : PROCESS_NEVER;
	p->live += space != NULL;
	p->live_peak = MAX(p->live_peak, p->live);
	return process;
}

static bool lives(struct processes *p, uint32_t number)
{
	const struct process *process = process_find(p, number);

	return process && process->state == PROCESS_LIVE;
}

static struct process *spawn(struct processes *p, uint32_t number)
{
	struct space *space = NULL;

	(void)space_lab_new(p->lab, &space);
	return add(p, number, space);
}

/* The process that acts; a trace's processes may have begun before it did. */
static struct process *actor(struct processes *p, const struct event *event)
{
	struct process *process = process_find(p, event->task);

	return process ? process : spawn(p, event->task);
}

static void run(struct processes *p, struct process *process)
{
	unsigned cpu = p->lab->machine->current_cpu;

	if (p->running[cpu] == process)
		return;
	p->running[cpu] = process;
	space_lab_switch(p->lab, process ? process->space : NULL);
}

static void end(struct processes *p, struct process *process)
{
	space_lab_free(p->lab, process->space);
	for (unsigned cpu = 0; cpu < p->lab->machine->config->cpus; cpu++)
		if (p->running[cpu] == process)
			p->running[cpu] = NULL;
	process->space = NULL;
	process->state = PROCESS_GONE;
	p->live--;
}

static gint by_number(gconstpointer a, gconstpointer b)
{
	const struct process *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

void processes_exit_all(struct processes *p)
{
	GList *all = g_list_sort(g_hash_table_get_values(p->by_number), by_number);

	for (GList *at = all; at; at = at->next) {
		struct process *process = at->data;
		if (process->state == PROCESS_LIVE)
			end(p, process);
	}
	g_list_free(all);
}

/* ---- touches ---- */

void process_pattern(uint64_t number, uint64_t va, uint8_t *data, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i += 8) {
		uint64_t word = random_mix(number * 0x9e3779b97f4a7c15ull + va + i) | 1;
		memcpy(data + i, &word, MIN(8, bytes - i));
	}
}

/* 1 to 8 bytes as one number, by two loads that may overlap: bytes stored one by one into a word
 * that is loaded as a whole would have to wait for the store buffer, in every touch. */
static uint64_t word_of(const uint8_t *data, unsigned bytes)
{
	uint32_t low, high;
	uint16_t first, last;

	if (bytes >= 4) {
		memcpy(&low, data, 4);
		memcpy(&high, data + bytes - 4, 4);
		return low | (uint64_t)high << (8 * (bytes - 4));
	}
	if (bytes == 1)
		return *data;
	memcpy(&first, data, 2);
	memcpy(&last, data + bytes - 2, 2);
	return first | (uint64_t)last << (8 * (bytes - 2));
}

static void digest(struct processes *p, const uint8_t *data, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i += 8) {
		uint64_t word = word_of(data + i, MIN(8, bytes - i));
		p->contents = (p->contents ^ word) * 0x9e3779b97f4a7c15ull + i;
		p->contents ^= p->contents >> 29;
	}
}

static void on_fault(void *context, const struct space_report *report)
{
	struct processes *p = context;

	if (report->fault == SPACE_FAULT_BAD)
		p->report = *report;
	if (p->faulted)
		p->faulted(p->context, report);
}

/* One access of up to 64 bytes. */
static enum space_touch touch_once(struct processes *p, struct process *process, uint64_t number,
				   uint64_t va, unsigned bytes, unsigned kind)
{
	uint8_t data[MMU_ACCESS_MAX_BYTES];
	bool written = kind == MMU_WRITE;

	if (written)
		process_pattern(number, va, data, bytes);
	enum space_touch got = space_lab_touch(p->lab, process->space, (struct vaddr){ va }, data,
					       bytes, kind, on_fault, p);
	if (got != TOUCH_DONE)
		return got;
	if (!written)
		digest(p, data, bytes);
	if (p->touched)
		p->touched(p->context, process, va, data, bytes, written);
	return TOUCH_DONE;
}

static enum space_touch touch_all(struct processes *p, struct process *process, uint64_t number,
				  const struct event *event, unsigned kind)
{
	uint64_t va = event->u.touch.address, left = MAX(event->u.touch.bytes, 1);
	enum space_touch got = TOUCH_DONE;

	while (left > 0 && got == TOUCH_DONE) {
		unsigned bytes = (unsigned)MIN(left, MMU_ACCESS_MAX_BYTES);
		got = touch_once(p, process, number, va, bytes, kind);
		va += bytes;
		left -= bytes;
	}
	return got;
}

static enum process_outcome touch(struct processes *p, struct process *process,
				  const struct event *event, uint64_t number)
{
	unsigned access = event->u.touch.access;
	enum space_touch got = TOUCH_DONE;

	if (event->u.touch.address >= p->lab->spaces->tables->geometry->user_end)
		return PROCESS_SKIPPED;
	run(p, process);
	p->touches++;
	if (access & RIGHT_EXEC)
		got = touch_all(p, process, number, event, MMU_FETCH);
	if (got == TOUCH_DONE && (access & RIGHT_READ))
		got = touch_all(p, process, number, event, MMU_READ);
	if (got == TOUCH_DONE && (access & RIGHT_WRITE))
		got = touch_all(p, process, number, event, MMU_WRITE);
	if (got == TOUCH_DONE)
		return PROCESS_DONE;
	if (got == TOUCH_NO_MEMORY)
		return PROCESS_FAILED;
	p->killed++;
	if (!p->survive)
		end(p, process);
	return PROCESS_KILLED;
}

/* ---- the other events ---- */

static enum process_outcome of_status(int status)
{
	return status == KERR_OK	  ? PROCESS_DONE
	       : status == KERR_NO_MEMORY ? PROCESS_FAILED
					  : PROCESS_INVALID;
}

static enum process_outcome change(struct processes *p, struct process *process,
				   const struct event *event)
{
	struct space_lab *lab = p->lab;
	uint64_t base = event->u.region.address & ~(FRAME_BYTES - 1);
	uint64_t end = round_up_u64(event->u.region.address + event->u.region.bytes, FRAME_BYTES);
	uint64_t user_end = lab->spaces->tables->geometry->user_end;

	if (event->u.region.address >= user_end)
		return PROCESS_SKIPPED;
	switch (event->kind) {
	case EVENT_MMAP:
		return of_status(
			space_lab_map(lab, process->space, base, end,
				      event->u.region.rights & (SPACE_RIGHTS | SPACE_LARGE)));
	case EVENT_MUNMAP:
		return of_status(space_lab_unmap(lab, process->space, base, end));
	case EVENT_MPROTECT:
		return of_status(space_lab_protect(lab, process->space, base, end,
						   event->u.region.rights & SPACE_RIGHTS));
	default:
		return of_status(space_lab_brk(lab, process->space, event->u.region.address));
	}
}

/* A new program: nothing of the old one's memory stays. */
static enum process_outcome exec(struct processes *p, struct process *process)
{
	end(p, process);
	return spawn(p, process->number)->state == PROCESS_LIVE ? PROCESS_DONE : PROCESS_FAILED;
}

static enum process_outcome fork_child(struct processes *p, struct process *parent, uint32_t child)
{
	struct space *space = NULL;

	if (child == parent->number || lives(p, child))
		return PROCESS_INVALID;
	int status = space_lab_fork(p->lab, parent->space, &space);
	add(p, child, space);
	return of_status(status);
}

enum process_outcome process_event(struct processes *p, const struct event *event, uint64_t number)
{
	if (event->kind == EVENT_SPAWN) {
		if (lives(p, event->u.process.child))
			return PROCESS_INVALID;
		return spawn(p, event->u.process.child)->state == PROCESS_LIVE ? PROCESS_DONE
									       : PROCESS_FAILED;
	}
	struct process *process = actor(p, event);
	if (process->state != PROCESS_LIVE)
		return PROCESS_SKIPPED;
	switch (event->kind) {
	case EVENT_FORK:
		return fork_child(p, process, event->u.process.child);
	case EVENT_EXEC:
		return exec(p, process);
	case EVENT_EXIT:
		end(p, process);
		return PROCESS_DONE;
	case EVENT_TOUCH:
		return touch(p, process, event, number);
	default:
		return change(p, process, event);
	}
}

/* ---- V7 ---- */

static void say_extent(GString *text, const char *where, const struct space_extent *extent,
		       uint64_t address)
{
	if (extent->end == 0) {
		g_string_append_printf(text, "; nothing %s", where);
		return;
	}
	uint64_t distance = address >= extent->end ? address - extent->end : extent->base - address;
	g_string_append_printf(
		text, "; %s, 0x%" PRIx64 " bytes off, 0x%" PRIx64 "-0x%" PRIx64 " %c%c%c", where,
		distance, extent->base, extent->end, extent->rights & SPACE_READ ? 'r' : '-',
		extent->rights & SPACE_WRITE ? 'w' : '-', extent->rights & SPACE_EXEC ? 'x' : '-');
}

char *process_report_text(const struct space_report *report)
{
	GString *text = g_string_new(NULL);

	g_string_append_printf(text, "0x%" PRIx64 ": ", report->address);
	if (report->null_page)
		g_string_append(text, "the null page");
	else if (report->at.end)
		g_string_append_printf(text, "a right that 0x%" PRIx64 "-0x%" PRIx64 " lacks",
				       report->at.base, report->at.end);
	else
		g_string_append(text, report->guard ? "a guard page" : "no region");
	say_extent(text, "below", &report->below, report->address);
	say_extent(text, "above", &report->above, report->address);
	return g_string_free(text, FALSE);
}
