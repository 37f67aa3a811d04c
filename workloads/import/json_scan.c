#include "workloads/import/json_scan.h"

#include <string.h>
#include "workloads/trace.h"

#define BUFFER_BYTES ((size_t)1 << 18)
/* Deeper than any converter nests. */
#define DEPTH_LIMIT 64
/* Of a key that is looked for. */
#define KEY_LIMIT 64
#define END	  (-1)

struct json_scan {
	struct import_source *source;
	uint64_t before; /* bytes before the buffer */
	size_t at, have;
	bool ended;
	GError *failure; /* of reading */
	unsigned char buffer[BUFFER_BYTES + KEY_LIMIT];
};

struct json_scan *json_scan_new(struct import_source *source)
{
	struct json_scan *scan = g_new(struct json_scan, 1);

	memset(scan, 0, offsetof(struct json_scan, buffer));
	scan->source = source;
	return scan;
}

void json_scan_free(struct json_scan *scan)
{
	g_clear_error(&scan->failure);
	g_free(scan);
}

uint64_t json_scan_offset(const struct json_scan *scan)
{
	return scan->before + scan->at;
}

bool json_scan_ended(const struct json_scan *scan)
{
	return scan->ended;
}

/* ---- bytes ---- */

static int refill(struct json_scan *scan)
{
	if (scan->ended)
		return END;
	scan->before += scan->have;
	scan->at = scan->have = 0;
	ssize_t got = import_source_read(scan->source, scan->buffer, BUFFER_BYTES, &scan->failure);
	scan->ended = got <= 0;
	scan->have = got > 0 ? (size_t)got : 0;
	return got > 0 ? scan->buffer[0] : END;
}

static int peek(struct json_scan *scan)
{
	return scan->at < scan->have ? scan->buffer[scan->at] : refill(scan);
}

static int take(struct json_scan *scan)
{
	int c = peek(scan);

	scan->at += c != END;
	return c;
}

static int peek_token(struct json_scan *scan)
{
	int c;

	while ((c = peek(scan)) == ' ' || c == '\n' || c == '\t' || c == '\r')
		scan->at++;
	return c;
}

static bool wrong(struct json_scan *scan, const char *wanted, GError **error)
{
	int c = peek(scan);

	if (scan->failure)
		g_propagate_error(error, g_steal_pointer(&scan->failure));
	else if (c == END)
		g_set_error(error, TRACE_ERROR, TRACE_ERROR_FORMAT, "%s is missing: the text ends",
			    wanted);
	else
		g_set_error(error, TRACE_ERROR, TRACE_ERROR_FORMAT,
			    g_ascii_isprint(c) ? "%s should stand in the place of '%c'"
					       : "%s should stand in the place of byte 0x%02x",
			    wanted, c);
	return false;
}

static bool expect(struct json_scan *scan, char wanted, GError **error)
{
	const char name[] = { '\'', wanted, '\'', '\0' };

	if (peek_token(scan) != wanted)
		return wrong(scan, name, error);
	scan->at++;
	return true;
}

/* ---- values ---- */

/* The character behind "\u", in UTF-8. Returns how many bytes, 0 if it is none. */
static int unicode(struct json_scan *scan, char *utf8)
{
	gunichar c = 0;

	for (int i = 0; i < 4; i++) {
		int digit = take(scan);
		if (digit == END || !g_ascii_isxdigit(digit))
			return 0;
		c = c << 4 | (gunichar)g_ascii_xdigit_value((char)digit);
	}
	/* Nothing that is recorded needs surrogates, or a zero. */
	return g_unichar_to_utf8(c == 0 || !g_unichar_validate(c) ? 0xfffd : c, utf8);
}

static int escaped(struct json_scan *scan, char *utf8)
{
	static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	int c = take(scan);

	if (c == 'u')
		return unicode(scan, utf8);
	const char *letter = c == END || c == 0 ? NULL : strchr(letters, c);
	if (!letter)
		return 0;
	*utf8 = meant[letter - letters];
	return 1;
}

/* A string into TEXT, as much as fits. */
static bool take_string(struct json_scan *scan, char *text, size_t room, GError **error)
{
	size_t used = 0;

	if (!expect(scan, '"', error))
		return false;
	for (;;) {
		char utf8[6];
		int bytes = 1, c = take(scan);
		if (c == '"')
			break;
		if (c == END)
			return wrong(scan, "the end of a string", error);
		utf8[0] = (char)c;
		if (c == '\\' && (bytes = escaped(scan, utf8)) == 0)
			return wrong(scan, "an escape in a string", error);
		if (used + (size_t)bytes < room) {
			memcpy(text + used, utf8, (size_t)bytes);
			used += (size_t)bytes;
		}
	}
	text[used] = '\0';
	return true;
}

static bool take_bare(struct json_scan *scan, char *text, size_t room, GError **error)
{
	size_t used = 0;
	int c;

	peek_token(scan);
	while ((c = peek(scan)) != END &&
	       (g_ascii_isalnum(c) || c == '-' || c == '+' || c == '.')) {
		if (used + 1 < room)
			text[used++] = (char)c;
		scan->at++;
	}
	text[used] = '\0';
	return used > 0 || wrong(scan, "a value", error);
}

bool json_scan_scalar(struct json_scan *scan, char *text, size_t room, GError **error)
{
	return peek_token(scan) == '"' ? take_string(scan, text, room, error)
				       : take_bare(scan, text, room, error);
}

bool json_scan_enter(struct json_scan *scan, char bracket, GError **error)
{
	return expect(scan, bracket, error);
}

/* What stands between two members or elements, or ends them: returns 1 or 0, -1 with error. */
static int separator(struct json_scan *scan, bool first, char end, GError **error)
{
	int c = peek_token(scan);

	if (c == end) {
		scan->at++;
		return 0;
	}
	if (first)
		return 1;
	return expect(scan, ',', error) ? 1 : -1;
}

int json_scan_member(struct json_scan *scan, bool first, char *key, size_t room, GError **error)
{
	int more = separator(scan, first, '}', error);

	if (more <= 0)
		return more;
	return take_string(scan, key, room, error) && expect(scan, ':', error) ? 1 : -1;
}

int json_scan_element(struct json_scan *scan, bool first, GError **error)
{
	return separator(scan, first, ']', error);
}

static bool skip(struct json_scan *scan, unsigned depth, GError **error)
{
	char text[8];
	int open = peek_token(scan);

	if (open != '{' && open != '[')
		return json_scan_scalar(scan, text, sizeof text, error);
	if (depth == DEPTH_LIMIT)
		return wrong(scan, "less depth", error);
	scan->at++;
	for (bool first = true;; first = false) {
		int more = open == '{' ? json_scan_member(scan, first, text, sizeof text, error)
				       : json_scan_element(scan, first, error);
		if (more <= 0)
			return more == 0;
		if (!skip(scan, depth + 1, error))
			return false;
	}
}

bool json_scan_skip(struct json_scan *scan, GError **error)
{
	return skip(scan, 0, error);
}

bool json_scan_find(struct json_scan *scan, const char *key, GError **error)
{
	size_t length = strlen(key), same = 0;
	int c;

	g_assert(length <= KEY_LIMIT);
	while (same < length && (c = take(scan)) != END)
		same = c == key[same] ? same + 1 : c == key[0] ? 1 : 0;
	if (scan->failure) {
		g_propagate_error(error, g_steal_pointer(&scan->failure));
		return false;
	}
	if (same < length)
		return true;
	/* The key is to be read again; its first bytes may have left the buffer. */
	memmove(scan->buffer + length, scan->buffer + scan->at, scan->have - scan->at);
	memcpy(scan->buffer, key, length);
	scan->before += scan->at - length;
	scan->have += length - scan->at;
	scan->at = 0;
	return true;
}
