/* Counts words with a chained hash table that grows: malloc, calloc, realloc, free, strdup. */
#include <ctype.h>
#include <mcheck.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct word {
	struct word *next;
	unsigned count;
	char *text;
};

static struct word **buckets;
static unsigned slots = 8, used;

static unsigned hash(const char *text)
{
	unsigned h = 5381;
	while (*text)
		h = h * 33 + (unsigned char)*text++;
	return h;
}

static void grow(void)
{
	struct word **wider = calloc(2 * slots, sizeof *wider);
	for (unsigned i = 0; i < slots; i++)
		for (struct word *at = buckets[i], *next; at; at = next) {
			unsigned to = hash(at->text) % (2 * slots);
			next = at->next;
			at->next = wider[to];
			wider[to] = at;
		}
	free(buckets);
	buckets = wider;
	slots *= 2;
}

static void count(const char *text)
{
	unsigned at = hash(text) % slots;
	for (struct word *word = buckets[at]; word; word = word->next)
		if (strcmp(word->text, text) == 0) {
			word->count++;
			return;
		}
	if (used++ == slots) {
		grow();
		at = hash(text) % slots;
	}
	struct word *word = malloc(sizeof *word);
	*word = (struct word){ buckets[at], 1, strdup(text) };
	buckets[at] = word;
}

int main(void)
{
	size_t room = 4, length = 0;
	int c;

	mtrace();
	buckets = calloc(slots, sizeof *buckets);
	char *text = malloc(room);
	while ((c = getchar()) != EOF) {
		if (isalpha(c)) {
			if (length + 1 == room)
				text = realloc(text, room *= 2);
			text[length++] = (char)c;
		} else if (length > 0) {
			text[length] = '\0';
			count(text);
			length = 0;
		}
	}
	printf("%u words\n", used);
	for (unsigned i = 0; i < slots; i++)
		for (struct word *at = buckets[i], *next; at; at = next) {
			next = at->next;
			free(at->text);
			free(at);
		}
	free(text);
	free(buckets);
	return 0;
}
