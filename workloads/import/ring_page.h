/*
 * ring_page.h - a page of Linux's ring buffer, as trace_pipe_raw gives it and trace.dat keeps it.
 *
 *   0          time stamp of the page, 8 bytes
 *   8          how many bytes are committed, a long of the kernel; two of its bits tell of a loss
 *   12 or 16   events, each behind a head of 4 bytes: 5 bits of type, 27 of time since the last one
 *
 *   type 1..28  data of so many words of 4 bytes
 *        0      data; the next word is its length in bytes, itself included
 *        29     padding, as long as the next word says, or without a time up to the page's end
 *        30     the next word holds the time's higher bits
 *        31     the same, of an absolute time without its upper 5 bits
 *
 * Sources: events/header_page and events/header_event of tracefs, include/linux/ring_buffer.h of
 * Linux, the behaviour of libtraceevent's kbuffer. What a page says of its own inside is not
 * believed: nothing is read beyond its end.
 */
#ifndef KMEMLAB_WORKLOADS_IMPORT_RING_PAGE_H
#define KMEMLAB_WORKLOADS_IMPORT_RING_PAGE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Larger pages than any kernel has. */
#define RING_PAGE_LIMIT (UINT32_C(1) << 20)

/* How the pages of a recording are laid out. */
struct ring_layout {
	uint32_t page_bytes; /* of a whole page */
	uint32_t data_offset;
	uint8_t commit_bytes; /* 4 or 8 */
	bool big_endian;
	bool swap; /* not this machine's byte order */
};

/* Where reading a page stands. */
struct ring_page {
	const unsigned char *bytes;
	uint32_t at, end; /* of the next event, of the committed ones */
	uint64_t time;
	uint64_t lost;	/* events before the page */
	bool lost_some; /* perhaps without a number: lost is 0 */
};

struct ring_record {
	const unsigned char *data;
	uint32_t bytes;
	uint32_t offset; /* of the event in its page */
	uint64_t time;
};

enum ring_result { RING_END = 0, RING_RECORD, RING_DAMAGED };

/* Reads events/header_page. Returns NULL, or what is wrong with it. */
const char *ring_layout_parse(struct ring_layout *layout, const char *text, bool big_endian);

static inline uint64_t ring_load(const unsigned char *at, unsigned bytes, bool swap)
{
	uint64_t long_value;
	uint32_t value;

	if (bytes == 8) {
		memcpy(&long_value, at, 8);
		return swap ? __builtin_bswap64(long_value) : long_value;
	}
	memcpy(&value, at, 4);
	return swap ? __builtin_bswap32(value) : value;
}

/* Begins with PAGE_BYTES at BYTES. Returns false if it says that it holds more. */
static inline bool ring_page_begin(struct ring_page *page, const struct ring_layout *layout,
				   const unsigned char *bytes)
{
	const uint64_t events_lost = UINT64_C(1) << 31, loss_stored = UINT64_C(1) << 30;
	uint64_t commit = ring_load(bytes + 8, layout->commit_bytes, layout->swap);
	uint32_t committed = commit & ((UINT32_C(1) << 27) - 1);

	page->bytes = bytes;
	page->at = page->end = layout->data_offset;
	page->time = ring_load(bytes, 8, layout->swap);
	page->lost = 0;
	page->lost_some = (commit & events_lost) != 0;
	if (committed > layout->page_bytes - layout->data_offset) {
		page->lost_some = false;
		return false;
	}
	page->end += committed;
	if (page->lost_some && (commit & loss_stored) &&
	    page->end + layout->commit_bytes <= layout->page_bytes) {
		page->lost = ring_load(bytes + page->end, layout->commit_bytes, layout->swap);
		page->lost_some = page->lost != 0;
	}
	return true;
}

/* An absolute time lacks 5 bits: those of the time before it, or one more. */
static inline uint64_t ring_absolute_time(uint64_t before, uint64_t stamp)
{
	uint64_t time = (before & (UINT64_C(0x1f) << 59)) | stamp;

	return time < before ? time + (UINT64_C(1) << 59) : time;
}

/* Takes the next event with data. What is damaged ends the page; OUT then says where it is. */
static inline enum ring_result
ring_page_next(struct ring_page *page, const struct ring_layout *layout, struct ring_record *out)
{
	for (;;) {
		uint32_t left = page->end - page->at, head_bytes = 4;

		out->offset = page->at;
		if (left < 4) {
			page->at = page->end;
			return left == 0 ? RING_END : RING_DAMAGED;
		}
		const unsigned char *at = page->bytes + page->at;
		uint32_t head = (uint32_t)ring_load(at, 4, layout->swap);
		uint32_t type = layout->big_endian ? head >> 27 : head & 31;
		uint32_t delta = layout->big_endian ? head & 0x7ffffff : head >> 5;
		uint32_t bytes = type * 4;
		if (G_UNLIKELY(type - 1 >= 28)) {
			if (type == 29 && delta == 0) {
				page->at = page->end;
				return RING_END;
			}
			uint32_t word = left < 8 ? 0 : (uint32_t)ring_load(at + 4, 4, layout->swap);
			bytes = type > 29 ? 4 : word;
			if (type == 0) {
				head_bytes = 8;
				bytes = word - 4 > left ? left : (word - 1) & ~3u;
			}
			if (left < 8 || bytes > left - head_bytes) {
				page->at = page->end;
				return RING_DAMAGED;
			}
			if (type > 29) {
				uint64_t stamp = (uint64_t)word << 27 | delta;
				page->time = type == 30 ? page->time + stamp
							: ring_absolute_time(page->time, stamp);
			} else {
				page->time += delta;
			}
			page->at += head_bytes + bytes;
			if (type != 0)
				continue;
		} else {
			if (bytes > left - 4) {
				page->at = page->end;
				return RING_DAMAGED;
			}
			page->time += delta;
			page->at += 4 + bytes;
		}
		out->data = at + head_bytes;
		out->bytes = bytes;
		out->time = page->time;
		return RING_RECORD;
	}
}

#endif
