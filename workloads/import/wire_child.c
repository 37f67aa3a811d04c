#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "workloads/import/wire.h"

/* The reading side. It may die at any point; what it has sent until then stands. */

struct wire_child *wire_child_new(struct wire_end end)
{
	struct wire_child *child = g_new0(struct wire_child, 1);

	child->end = end;
	child->credits = WIRE_BATCHES;
	child->out = end.shared->batch[0];
	child->strings = g_hash_table_new(g_str_hash, g_str_equal);
	return child;
}

/* The whole, or nobody is there any more. */
static void move(ssize_t (*call)(int, void *, size_t), int fd, void *bytes, size_t count)
{
	ssize_t done;

	do
		done = call(fd, bytes, count);
	while (done < 0 && errno == EINTR);
	if (done != (ssize_t)count)
		_exit(1);
}

static ssize_t put(int fd, void *bytes, size_t count)
{
	return write(fd, bytes, count);
}

void wire_flush(struct wire_child *child)
{
	move(put, child->end.filled, &child->used, sizeof child->used);
	if (++child->batches == child->credits) {
		char credits[WIRE_CREDITS];
		move(read, child->end.credit, credits, sizeof credits);
		child->credits += sizeof credits;
	}
	child->out = child->end.shared->batch[child->batches % WIRE_BATCHES];
	child->used = 0;
}

struct wire_message *wire_message_text(struct wire_child *child, enum wire_type type,
				       const char *text, size_t bytes)
{
	while (bytes > 0) {
		size_t piece = MIN(bytes, WIRE_PIECE);
		struct wire_message *part = wire_message(child, WIRE_TEXT);
		part->bytes = (uint8_t)piece;
		memcpy(part->u.piece, text, piece);
		text += piece;
		bytes -= piece;
	}
	return wire_message(child, type);
}

void wire_fail_at(struct wire_child *child, uint64_t offset, const char *text)
{
	wire_message_text(child, WIRE_FAILED, text, strlen(text))->number = offset;
	wire_flush(child);
	_exit(0);
}

void wire_fail(struct wire_child *child, const char *text)
{
	wire_fail_at(child, 0, text);
}

void wire_malformed(struct wire_child *child, uint64_t offset, const char *format, ...)
{
	char text[200];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	wire_message_text(child, WIRE_MALFORMED, text, strlen(text))->number = offset;
}

uint32_t wire_string(struct wire_child *child, const char *text, size_t bytes)
{
	g_autofree char *copy = g_strndup(text, bytes);
	gpointer id = g_hash_table_lookup(child->strings, copy);

	if (!id) {
		id = GUINT_TO_POINTER(g_hash_table_size(child->strings) + 1);
		wire_message_text(child, WIRE_STRING, copy, strlen(copy))->id =
			GPOINTER_TO_UINT(id);
		g_hash_table_insert(child->strings, g_steal_pointer(&copy), id);
	}
	return GPOINTER_TO_UINT(id);
}

void wire_end(struct wire_child *child)
{
	wire_message(child, WIRE_END);
	wire_flush(child);
	_exit(0);
}
