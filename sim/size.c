#include "sim/size.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static const char units[] = "KMGT";

bool size_parse(const char *text, uint64_t *bytes)
{
	char *end = NULL;

	if (!g_ascii_isdigit(text[0]))
		return false;
	errno = 0;
	guint64 number = g_ascii_strtoull(text, &end, 10);
	if (errno)
		return false;
	unsigned shift = 0;
	if (*end) {
		const char *unit = strchr(units, g_ascii_toupper(*end));
		if (!unit || end[1])
			return false;
		shift = 10 * (unsigned)(unit - units + 1);
	}
	if (shift && number >> (64 - shift))
		return false;
	*bytes = number << shift;
	return true;
}

char *size_format(uint64_t bytes)
{
	unsigned unit = 0;

	while (bytes && unit < strlen(units) && (bytes & 1023) == 0) {
		bytes >>= 10;
		unit++;
	}
	return unit ? g_strdup_printf("%" G_GUINT64_FORMAT "%c", bytes, units[unit - 1])
		    : g_strdup_printf("%" G_GUINT64_FORMAT, bytes);
}
