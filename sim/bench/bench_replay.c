/*
 * Goal 7: the replay loop with an allocator that does nothing and without the ledger, against Y4:
 * loops over 16-byte events, mapped (untimed), with a pair of time stamps an event (timed), and
 * decompressed by zstd. A replay decodes its events, which mapped ones need not be: figures that
 * end in -decoded leave that out. Goal 9, the format: decoding against decompressing the same
 * number of bytes and storing 16 bytes an event.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "sim/bench/bench.h"
#include "sim/lab.h"
#include "sim/random.h"
#include "sim/replay.h"
#include "sim/timer.h"
#include "workloads/memory_map.h"

#define EVENTS_FULL  1000000u
#define LIVE_MAX     20000u
#define RAM_BYTES    (64ull << 20)
#define BLOCK_EVENTS 65536u

/* Y4's event. */
struct bare_event {
	uint32_t handle;
	uint32_t frames; /* 0: free */
	uint64_t time_ns;
};

struct load {
	uint64_t events;
	struct bare_event *bare;
	char *path; /* the same events as a .kmt */
	uint8_t *packed;
	size_t packed_bytes, *block_bytes;
	uint64_t *first; /* handle table of the yardsticks */
	const struct frame_ops *empty;
	struct machine_config *machine;
	bool ledger, timed;
};

/* ---- an allocator that does nothing ---- */

static uint64_t empty_state_bytes(const struct memmap *map, const struct frame_config *config,
				  const char **why)
{
	return sizeof(uint64_t);
}

static int empty_init(void *state, const struct memmap *map, const struct frame_config *config)
{
	*(uint64_t *)state = map->first.n;
	return KERR_OK;
}

static int empty_alloc(void *state, const struct frame_request *request, struct frame_block *out)
{
	*out = (struct frame_block){ { (*(uint64_t *)state)++ }, request->frames };
	return KERR_OK;
}

static int empty_free(void *state, const struct frame_block *block)
{
	return KERR_OK;
}

static void empty_stats(const void *state, struct frame_stats *out)
{
	*out = (struct frame_stats){ 0 };
}

static int empty_walk(const void *state, frame_visit_fn visit, void *context)
{
	return KERR_OK;
}

static int empty_check(const void *state, struct violation *violation)
{
	return KERR_OK;
}

static const struct frame_ops empty_ops = {
	.name = "empty",
	.id = "-",
	.summary = "does nothing",
	.caps = FRAME_CAP_FREE | FRAME_CAP_RUNS | FRAME_CAP_ANY_COUNT | FRAME_CAP_ALIGN,
	.state_bytes = empty_state_bytes,
	.init = empty_init,
	.alloc = empty_alloc,
	.free = empty_free,
	.stats = empty_stats,
	.walk = empty_walk,
	.check = empty_check,
};

/* ---- yardsticks ---- */

static void bare_step(struct load *load, void *state, const struct bare_event *event)
{
	struct frame_block block = { { load->first[event->handle] }, 1 };

	if (event->frames) {
		struct frame_request request = { .frames = event->frames,
						 .align_frames = event->frames };
		if (load->empty->alloc(state, &request, &block) == KERR_OK)
			load->first[event->handle] = block.first.n;
	} else if (load->empty->free(state, &block) != KERR_OK) {
		load->first[event->handle] = 0;
	}
}

static uint64_t bare_run(void *context)
{
	struct load *load = context;
	uint64_t state = 0, begin = bench_cpu_ns();

	for (uint64_t i = 0; i < load->events; i++)
		bare_step(load, &state, &load->bare[i]);
	return bench_cpu_ns() - begin;
}

static uint64_t bare_timed_run(void *context)
{
	struct load *load = context;
	static uint64_t sum;
	uint64_t state = 0, begin = bench_cpu_ns();

	for (uint64_t i = 0; i < load->events; i++) {
		uint64_t start = timer_start();
		bare_step(load, &state, &load->bare[i]);
		sum += timer_stop() - start;
	}
	return bench_cpu_ns() - begin;
}

static uint64_t bare_zstd_run(void *context)
{
	struct load *load = context;
	uint64_t state = 0, begin = bench_cpu_ns();
	struct bare_event *block = g_new(struct bare_event, BLOCK_EVENTS);
	const uint8_t *at = load->packed;

	for (uint64_t done = 0, number = 0; done < load->events; number++) {
		size_t bytes = ZSTD_decompress(block, BLOCK_EVENTS * sizeof(*block), at,
					       load->block_bytes[number]);
		at += load->block_bytes[number];
		for (size_t i = 0; i < bytes / sizeof(*block); i++)
			bare_step(load, &state, &block[i]);
		done += bytes / sizeof(*block);
	}
	g_free(block);
	return bench_cpu_ns() - begin;
}

/* ---- the real thing ---- */

static uint64_t replay_run(void *context)
{
	struct load *load = context;
	struct replay_config config = {
		.trace_path = load->path,
		.frames = { [PASS_NATIVE] = load->empty },
		.machine = load->machine,
		.frame_config = { .cpus = 1 },
		.until = REPLAY_ALL,
		.unjudged = !load->ledger,
		.command = "",
	};
	struct recorder_config recording = { .sample_events = UINT64_MAX / 2,
					     .slow_threshold_ns = UINT64_MAX,
					     .time = true };
	struct recorder *recorder = load->timed ? recorder_new(&recording, NULL) : NULL;
	struct replay_result result;
	GError *error = NULL;

	if (!replay_pass(&config, PASS_NATIVE, recorder, &result, &error))
		g_error("lab error: bench: %s", error->message);
	uint64_t ns = result.cpu_ns;
	replay_result_clear(&result);
	if (recorder)
		recorder_free(recorder);
	return ns;
}

static uint64_t decode_run(void *context)
{
	struct load *load = context;
	struct trace_reader *reader = trace_reader_open(load->path, NULL);
	const struct event *events;
	uint64_t begin = bench_cpu_ns();
	int count;

	while ((count = trace_reader_next_block(reader, &events, NULL)) > 0)
		;
	uint64_t ns = bench_cpu_ns() - begin;
	trace_reader_free(reader);
	return ns;
}

/* A replay without decoding, as the yardsticks' events need none: what decoding takes is measured
 * right after and taken off. */
static uint64_t decoded_run(void *context)
{
	uint64_t whole = replay_run(context), decoding = decode_run(context);

	return whole > decoding ? whole - decoding : 0;
}

/* ---- making the load ---- */

static bool write_event(struct trace_writer *writer, const struct bare_event *event, GError **error)
{
	struct event full = { .time_ns = event->time_ns,
			      .kind = event->frames ? EVENT_FRAME_ALLOC : EVENT_FRAME_FREE,
			      .task = 1 };

	full.u.frame.handle = event->handle;
	full.u.frame.frames = event->frames;
	full.u.frame.align_frames = event->frames;
	full.u.frame.frame = EVENT_NO_FRAME;
	return trace_writer_add(writer, &full, error);
}

static void plan_events(struct load *load)
{
	struct random random = random_seeded(7);
	uint32_t *live = g_new(uint32_t, LIVE_MAX), count = 0, next = 1;

	for (uint64_t i = 0; i < load->events; i++) {
		struct bare_event *event = &load->bare[i];
		event->time_ns = i * 1000 + random_below(&random, 1000);
		if (count == LIVE_MAX || (count && random_below(&random, 2))) {
			uint32_t victim = (uint32_t)random_below(&random, count);
			event->handle = live[victim];
			live[victim] = live[--count];
		} else {
			event->frames = 1;
			event->handle = next++;
			live[count++] = event->handle;
		}
	}
	load->first = g_new0(uint64_t, next);
	g_free(live);
}

static bool write_trace(struct load *load, GError **error)
{
	int fd = g_file_open_tmp("kmemlab-bench-XXXXXX.kmt", &load->path, error);
	struct trace_writer *writer = fd >= 0 ? trace_writer_new(load->path, error) : NULL;

	if (fd >= 0)
		close(fd);
	if (!writer)
		return false;
	for (uint64_t i = 0; i < load->events; i++) {
		if (!write_event(writer, &load->bare[i], error)) {
			trace_writer_abort(writer);
			return false;
		}
	}
	struct trace_meta *meta = trace_meta_new();
	struct memory_range ram = { .base = 0, .bytes = RAM_BYTES, .type = MEMORY_USABLE };
	g_array_append_val(meta->memory_map, ram);
	meta->source = g_strdup("bench");
	meta->format = g_strdup("generated");
	meta->cpus = 1;
	bool fine = trace_writer_finish(writer, meta, error);
	trace_meta_free(meta);
	return fine;
}

static void pack(struct load *load)
{
	uint64_t blocks = (load->events + BLOCK_EVENTS - 1) / BLOCK_EVENTS;
	size_t bound = ZSTD_compressBound(BLOCK_EVENTS * sizeof(struct bare_event));

	load->packed = g_malloc(blocks * bound);
	load->block_bytes = g_new0(size_t, blocks);
	for (uint64_t i = 0; i < blocks; i++) {
		uint64_t count = MIN(BLOCK_EVENTS, load->events - i * BLOCK_EVENTS);
		load->block_bytes[i] = ZSTD_compress(load->packed + load->packed_bytes, bound,
						     load->bare + i * BLOCK_EVENTS,
						     count * sizeof(struct bare_event), 3);
		load->packed_bytes += load->block_bytes[i];
	}
}

static void load_clear(struct load *load)
{
	if (load->path)
		unlink(load->path);
	machine_config_free(load->machine);
	g_free(load->path);
	g_free(load->bare);
	g_free(load->packed);
	g_free(load->block_bytes);
	g_free(load->first);
}

bool bench_replay(const struct bench_options *options, GArray *figures, GError **error)
{
	struct load load = { .events = EVENTS_FULL / 100 * options->scale, .empty = &empty_ops };

	load.bare = g_new0(struct bare_event, load.events);
	plan_events(&load);
	pack(&load);
	load.machine = machine_config_new("pc-512m", error);
	bool fine = load.machine && write_trace(&load, error);
	if (fine) {
		struct load timed = load, judged = load;
		timed.timed = true;
		judged.ledger = true;
		struct bench_runner real = { replay_run, &load, load.events },
				    real_timed = { replay_run, &timed, load.events };
		struct bench_runner bare = { bare_run, &load, load.events },
				    bare_timed = { bare_timed_run, &load, load.events };
		struct bench_runner bare_zstd = { bare_zstd_run, &load, load.events };
		bench_compare(figures, "replay/untimed", "ns/event", &real, "Y4 mapped events",
			      &bare, 0);
		bench_compare(figures, "replay/untimed-decoded", "ns/event",
			      &(struct bench_runner){ decoded_run, &load, load.events },
			      "Y4 mapped events", &bare, 1.5);
		bench_compare(figures, "replay/from-zstd", "ns/event", &real, "Y4 events from zstd",
			      &bare_zstd, 1.4);
		bench_compare(figures, "replay/timed", "ns/event", &real_timed,
			      "Y4 with a stamp pair", &bare_timed, 1.3);
		bench_compare(figures, "replay/timed-decoded", "ns/event",
			      &(struct bench_runner){ decoded_run, &timed, load.events },
			      "Y4 with a stamp pair", &bare_timed, 1.3);
		bench_compare(figures, "replay/decode", "ns/event",
			      &(struct bench_runner){ decode_run, &load, load.events },
			      "Y4 events from zstd", &bare_zstd, 0);
		bench_compare(figures, "replay/with-ledger", "ns/event",
			      &(struct bench_runner){ replay_run, &judged, load.events },
			      "Y4 mapped events", &bare, 0);
	}
	load_clear(&load);
	return fine;
}
