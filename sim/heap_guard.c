#include "sim/heap_guard.h"

#include <string.h>

#include "sim/lab.h"

static const char *const names[] = { "redzone", "poison", "access", "misuse" };

static bool add(const char *word, unsigned *guard)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		if (strcmp(word, names[i]) == 0) {
			*guard |= 1u << i;
			return true;
		}
	if (strcmp(word, "all") == 0)
		*guard = HEAP_GUARD_ALL;
	return strcmp(word, "all") == 0 || strcmp(word, "none") == 0;
}

bool heap_guard_parse(const char *text, unsigned *guard, GError **error)
{
	char **words = g_strsplit(text, ",", -1);
	bool fine = words[0] != NULL;

	*guard = 0;
	for (char **word = words; fine && *word; word++)
		fine = add(*word, guard);
	g_strfreev(words);
	return fine || lab_usage(error,
				 "--guard: '%s' is no list of redzone, poison, access, misuse, nor "
				 "all or none",
				 text);
}

char *heap_guard_words(unsigned guard)
{
	GString *words = g_string_new(NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		if (guard & 1u << i)
			g_string_append_printf(words, "%s%s", words->len ? "," : "", names[i]);
	return g_string_free(words, FALSE);
}
