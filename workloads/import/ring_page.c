#include "workloads/import/ring_page.h"

#include <stdio.h>

#define PAGE_LEAST 4096

/* "field: TYPE NAME; offset:N; size:N; ..." */
static bool find_field(const char *text, const char *name, unsigned *offset, unsigned *size)
{
	const char *at = strstr(text, name);

	return at && sscanf(at + strlen(name), " offset:%u; size:%u;", offset, size) == 2;
}

const char *ring_layout_parse(struct ring_layout *layout, const char *text, bool big_endian)
{
	unsigned stamp, stamp_bytes, commit, commit_bytes, data, data_bytes;

	if (!find_field(text, " timestamp;", &stamp, &stamp_bytes) ||
	    !find_field(text, " commit;", &commit, &commit_bytes) ||
	    !find_field(text, " data;", &data, &data_bytes))
		return "has no field timestamp, commit or data";
	if (stamp != 0 || stamp_bytes != 8 || commit != 8 ||
	    (commit_bytes != 4 && commit_bytes != 8) || data != 8 + commit_bytes)
		return "describes another page than Linux's since 2.6.31";
	if (data_bytes > RING_PAGE_LIMIT - data || data + data_bytes < PAGE_LEAST)
		return "names no size of a page";
	layout->page_bytes = data + data_bytes;
	layout->data_offset = data;
	layout->commit_bytes = (uint8_t)commit_bytes;
	layout->big_endian = big_endian;
	layout->swap = big_endian != (G_BYTE_ORDER == G_BIG_ENDIAN);
	return NULL;
}
