#include "sim/lab.h"

#include <errno.h>

G_DEFINE_QUARK(kmemlab - lab - error - quark, lab_error)

bool lab_set_errno(GError **error, const char *what)
{
	int saved = errno;

	g_set_error(error, LAB_ERROR, LAB_ERROR_LAB, "lab error: %s: %s", what, g_strerror(saved));
	return false;
}

bool lab_usage(GError **error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	g_propagate_error(error, g_error_new_valist(LAB_ERROR, LAB_ERROR_USAGE, format, arguments));
	va_end(arguments);
	return false;
}

char *lab_file_sha256(const char *path)
{
	GMappedFile *file = g_mapped_file_new(path, FALSE, NULL);

	if (!file)
		return NULL;
	GBytes *bytes = g_mapped_file_get_bytes(file);
	char *sum = g_compute_checksum_for_bytes(G_CHECKSUM_SHA256, bytes);
	g_bytes_unref(bytes);
	g_mapped_file_unref(file);
	return sum;
}
