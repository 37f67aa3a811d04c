#include <string.h>
#include "workloads/event.h"
#include "workloads/import/import.h"
#include "workloads/import/lines.h"
#include "workloads/import/owners.h"

/*
 * The memory references of a program, as `valgrind --tool=lackey --trace-mem=yes` prints them:
 *
 *   "I  0401ab70,3"    an instruction of 3 bytes was fetched
 *   " S 1fff0006a8,8"  it stored 8 bytes; L loads, M does both
 *
 * Addresses are hexadecimal, sizes decimal. Lines of valgrind's own begin with "==" and its process
 * number. The recording has no clock: an instruction counts as one nanosecond, and its accesses
 * share its time.
 */

enum { FETCH = 0, LOAD, STORE, MODIFY, LETTERS };
static const char letters[] = "ILSM";

struct lackey {
	struct owners *owners;
	struct raw_event raw;
	uint64_t instructions, ip;
	uint32_t names[LETTERS];
};

/* "I  0401ab70,3" and its like. Returns the letter's place, -1 if it is none of them. */
static int scan_reference(struct span line, uint64_t *address, uint64_t *bytes)
{
	const char *p = line.begin, *end = line.end;
	const char *letter = end - p < 5 ? NULL : memchr(letters, p[p[0] == ' '], LETTERS);
	uint64_t number = 0;

	if (!letter || (p[0] == ' ') == (*letter == 'I') || p[2] != ' ')
		return -1;
	if (p[0] != ' ' && p[1] != ' ')
		return -1;
	const char *first = text_skip_blanks(p + 2, end);
	for (p = first; p < end && *p != ','; p++) {
		unsigned digit = (unsigned)*p - '0';
		if (digit > 9)
			digit = (unsigned)*p - 'a' + 10;
		if (digit > 15)
			return -1;
		number = number << 4 | digit;
	}
	*address = number;
	if (p == first || p - first > 16 || end - p < 2 || end - p > 10)
		return -1;
	return text_digits(p + 1, end, bytes) == end ? (int)(letter - letters) : -1;
}

/* "==123== ...": the process, and its name where valgrind says the command. */
static bool valgrind_line(struct lackey *lackey, struct span line)
{
	static const char command[] = "== Command: ";
	uint64_t pid;
	const char *p = text_digits(line.begin + 2, line.end, &pid);
	struct span rest = { p, line.end };

	if (pid > 0 && pid < UINT32_MAX && text_starts(rest, "== "))
		lackey->raw.pid = (uint32_t)pid;
	if (!text_starts(rest, command))
		return true;
	const char *name = p + sizeof command - 1;
	const char *end = memchr(name, ' ', (size_t)(line.end - name));
	end = end ? end : line.end;
	const char *slash = memrchr(name, '/', (size_t)(end - name));
	name = slash ? slash + 1 : name;
	owners_task(lackey->owners, lackey->raw.pid, name, (size_t)(end - name));
	return true;
}

static bool take_line(void *data, struct span line, GError **error)
{
	static const uint8_t access[LETTERS] = { RIGHT_EXEC, RIGHT_READ, RIGHT_WRITE,
						 RIGHT_READ | RIGHT_WRITE };
	struct lackey *lackey = data;
	uint64_t address, bytes;
	int what = scan_reference(line, &address, &bytes);

	if (what < 0) {
		if (line.begin == line.end || text_starts(line, "--") || text_starts(line, "**"))
			return true;
		if (text_starts(line, "=="))
			return valgrind_line(lackey, line);
		return line_problem_at(error, "not a memory reference:", line);
	}
	if (what == FETCH) {
		lackey->instructions++;
		lackey->ip = address;
	}
	lackey->raw.time_ns = lackey->instructions;
	lackey->raw.name = lackey->names[what];
	lackey->raw.u.access.address = address;
	lackey->raw.u.access.ip = lackey->ip;
	lackey->raw.u.access.bytes = (uint32_t)bytes;
	lackey->raw.u.access.access = access[what];
	return owners_add(lackey->owners, &lackey->raw, error);
}

bool lackey_run(struct import_job *job, GError **error)
{
	struct lackey lackey = { .owners = job->owners };

	lackey.raw.kind = RAW_ACCESS;
	for (int i = 0; i < LETTERS; i++)
		lackey.names[i] = owners_string(job->owners, &letters[i], 1);
	return lines_run(job, take_line, &lackey, error);
}

static bool looks_right(struct span line)
{
	uint64_t address, bytes;
	struct span rest;

	return scan_reference(line, &address, &bytes) >= 0 ||
	       (text_starts(line, "==") && text_between(line, "== Lackey, ", "\n", &rest));
}

bool lackey_detect(const unsigned char *head, size_t bytes, const char *name)
{
	return lines_detect(head, bytes, looks_right);
}
