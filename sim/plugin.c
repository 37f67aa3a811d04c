#include "sim/plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <string.h>
#include <unistd.h>

#include "alloc/frame/plugin.h"
#include "alloc/heap/plugin.h"
#include "sim/check_trial.h"
#include "sim/lab.h"

#define PROBED	    "probed_"
#define OPEN_CPU_MS 5000 /* the dynamic linker, on a file that may be damaged */
#define SIZES	    5

/* What a plugin's symbol leads to begins with the version and the sizes of what crosses. */
struct header {
	uint32_t abi;
	uint32_t bytes[SIZES]; /* ops, config, request, stats, map */
	const void *ops;
};
_Static_assert(offsetof(struct header, ops) == offsetof(struct kmemlab_plugin, frames) &&
		       offsetof(struct header, ops) == offsetof(struct kmemlab_heap_plugin, heap),
	       "both kinds of plugin begin alike");

/* A slot that a plugin can fill. */
struct kind {
	const char *symbol, *probed_symbol, *macro;
	uint32_t bytes[SIZES];
	bool (*check_ops)(const char *path, const void *ops, GError **error);
	bool (*same)(const void *native, const void *probed);
};

static bool fail(GError **error, const char *path, const char *format, ...) G_GNUC_PRINTF(3, 4);
static bool fail(GError **error, const char *path, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	char *what = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	g_set_error(error, LAB_ERROR, LAB_ERROR_INPUT, "%s: %s", path, what);
	g_free(what);
	return false;
}

bool plugin_is_path(const char *name)
{
	return strchr(name, '/') || g_str_has_suffix(name, ".so");
}

/* ---- the file ---- */

struct object {
	const char *path;
	Elf *elf;
	const struct kind *kind;
	uint64_t bytes;
	bool has_plugin;
	GError **error;
};

/* What alloc/port.h declares, in either build, and what the compiler adds to the probed one. */
static bool may_ask_for(const char *symbol)
{
	static const char *const memory[] = { "memcpy", "memmove", "memset", "memcmp" };

	if (g_str_has_prefix(symbol, PROBED)) {
		symbol += strlen(PROBED);
		if (g_str_has_prefix(symbol, "__tsan_"))
			return true;
	}
	for (gsize i = 0; i < G_N_ELEMENTS(memory); i++)
		if (strcmp(symbol, memory[i]) == 0)
			return true;
	return g_str_has_prefix(symbol, "port_");
}

static bool check_header(const struct object *object)
{
	GElf_Ehdr header;

	if (elf_kind(object->elf) != ELF_K_ELF || !gelf_getehdr(object->elf, &header))
		return fail(object->error, object->path, "is no ELF shared object");
	if (header.e_type != ET_DYN)
		return fail(object->error, object->path,
			    "is an ELF file, but no shared object: link it with "
			    "kmemlab-plugin-build");
	if (header.e_machine != EM_X86_64 || header.e_ident[EI_CLASS] != ELFCLASS64)
		return fail(object->error, object->path, "is no shared object for x86-64");
	return true;
}

static bool check_segments(const struct object *object)
{
	size_t count = 0;

	if (elf_getphdrnum(object->elf, &count) != 0 || count == 0)
		return fail(object->error, object->path, "is damaged: it has no program headers");
	for (size_t i = 0; i < count; i++) {
		GElf_Phdr segment;
		if (!gelf_getphdr(object->elf, (int)i, &segment) ||
		    segment.p_offset > object->bytes ||
		    segment.p_filesz > object->bytes - segment.p_offset)
			return fail(object->error, object->path,
				    "is damaged: a segment ends beyond the file");
	}
	return true;
}

static bool check_symbols(struct object *object, Elf_Scn *section, const GElf_Shdr *header)
{
	Elf_Data *data = elf_getdata(section, NULL);

	for (int i = 1;
	     data && header->sh_entsize && i < (int)(header->sh_size / header->sh_entsize); i++) {
		GElf_Sym symbol;
		const char *name =
			gelf_getsym(data, i, &symbol)
				? elf_strptr(object->elf, header->sh_link, symbol.st_name)
				: NULL;
		if (!name)
			return fail(object->error, object->path,
				    "is damaged: its symbols cannot be read");
		if (symbol.st_shndx == SHN_UNDEF && !may_ask_for(name))
			return fail(object->error, object->path,
				    "asks for '%s', which alloc/port.h does not offer", name);
		if (symbol.st_shndx != SHN_UNDEF && strcmp(name, object->kind->symbol) == 0)
			object->has_plugin = symbol.st_size >= sizeof(struct header) &&
					     GELF_ST_TYPE(symbol.st_info) == STT_OBJECT;
	}
	return true;
}

static bool check_needed(const struct object *object, Elf_Scn *section, const GElf_Shdr *header)
{
	Elf_Data *data = elf_getdata(section, NULL);

	for (int i = 0;
	     data && header->sh_entsize && i < (int)(header->sh_size / header->sh_entsize); i++) {
		GElf_Dyn entry;
		if (!gelf_getdyn(data, i, &entry) || entry.d_tag == DT_NULL)
			break;
		if (entry.d_tag != DT_NEEDED)
			continue;
		const char *name = elf_strptr(object->elf, header->sh_link, entry.d_un.d_val);
		return fail(object->error, object->path,
			    "needs the library %s: kernel code has none", name ? name : "?");
	}
	return true;
}

/* Variables and code that runs by itself. What the linker makes read-only after relocation is
 * neither. */
static bool check_content(const struct object *object, const GElf_Shdr *header, const char *name)
{
	static const char *const constant[] = { ".data.rel.ro", ".dynamic", ".got",
						".tm_clone_table" };
	bool runs = header->sh_type == SHT_INIT_ARRAY || header->sh_type == SHT_FINI_ARRAY ||
		    header->sh_type == SHT_PREINIT_ARRAY || strcmp(name, ".init") == 0;

	if (header->sh_size && runs)
		return fail(object->error, object->path,
			    "has code that runs when it is loaded (%s): build it with "
			    "kmemlab-plugin-build",
			    name);
	if (!(header->sh_flags & SHF_WRITE) || !(header->sh_flags & SHF_ALLOC) || !header->sh_size)
		return true;
	for (gsize i = 0; i < G_N_ELEMENTS(constant); i++)
		if (g_str_has_prefix(name, constant[i]))
			return true;
	return fail(object->error, object->path,
		    "keeps %" G_GUINT64_FORMAT
		    " bytes of variables of its own (%s): all state stands in the memory that "
		    "init() is given",
		    (guint64)header->sh_size, name);
}

static bool check_sections(struct object *object)
{
	Elf_Scn *section = NULL;
	size_t names, seen = 0;

	if (elf_getshdrstrndx(object->elf, &names) != 0)
		return fail(object->error, object->path, "is damaged: its sections have no names");
	while ((section = elf_nextscn(object->elf, section))) {
		GElf_Shdr header;
		const char *name = gelf_getshdr(section, &header)
					   ? elf_strptr(object->elf, names, header.sh_name)
					   : NULL;
		if (!name)
			return fail(object->error, object->path,
				    "is damaged: its sections cannot be read");
		seen++;
		if (!check_content(object, &header, name) ||
		    (header.sh_type == SHT_DYNSYM && !check_symbols(object, section, &header)) ||
		    (header.sh_type == SHT_DYNAMIC && !check_needed(object, section, &header)))
			return false;
	}
	if (!seen)
		return fail(object->error, object->path,
			    "has no section headers, so that it cannot be examined");
	if (!object->has_plugin)
		return fail(object->error, object->path, "has no symbol %s: %s(ops) defines it",
			    object->kind->symbol, object->kind->macro);
	return true;
}

static bool examine(const char *path, const struct kind *kind, GError **error)
{
	struct object object = { .path = path, .kind = kind, .error = error };
	int file = open(path, O_RDONLY | O_CLOEXEC);

	if (file < 0)
		return fail(error, path, "%s", g_strerror(errno));
	off_t bytes = lseek(file, 0, SEEK_END);
	object.bytes = bytes < 0 ? 0 : (uint64_t)bytes;
	elf_version(EV_CURRENT);
	object.elf = elf_begin(file, ELF_C_READ, NULL);
	bool fine = object.elf ? check_header(&object) && check_segments(&object) &&
					 check_sections(&object)
			       : fail(error, path, "is no ELF shared object");
	elf_end(object.elf);
	close(file);
	return fine;
}

/* ---- what it offers ---- */

static const char *missing_function(const struct frame_ops *ops)
{
	return !ops->state_bytes ? "state_bytes"
	       : !ops->init	 ? "init"
	       : !ops->alloc	 ? "alloc"
	       : !ops->free	 ? "free"
	       : !ops->stats	 ? "stats"
	       : !ops->walk	 ? "walk"
	       : !ops->check	 ? "check"
				 : NULL;
}

static bool check_option(const struct frame_option *option)
{
	if (!option->help)
		return false;
	if (!option->choices)
		return option->min <= option->value && option->value <= option->max;
	for (uint64_t value = 0; option->choices[value]; value++)
		if (value == option->value)
			return true;
	return false;
}

/* What both kinds of ops have: names, capabilities among those that NAMES knows, settings. */
static bool check_common(const char *path, const char *const texts[3], unsigned caps,
			 const char *const *names, const struct frame_option *options,
			 const char *missing, GError **error)
{
	unsigned known = 0;

	if (!texts[0] || !*texts[0] || !texts[1] || !texts[2])
		return fail(error, path, "the ops have no name, id or summary");
	if (missing)
		return fail(error, path, "the ops of %s have no function '%s'", texts[0], missing);
	for (unsigned bit = 0; names[bit]; bit++)
		known |= 1u << bit;
	if (caps & ~known)
		return fail(error, path, "the ops of %s claim unknown capabilities (0x%x)",
			    texts[0], caps & ~known);
	for (unsigned i = 0; options && options[i].key; i++) {
		if (i == FRAME_OPTIONS_MAX)
			return fail(error, path, "%s has more than %d settings", texts[0],
				    FRAME_OPTIONS_MAX);
		if (!check_option(&options[i]))
			return fail(error, path,
				    "%s: the default of the setting '%s' is not possible, or it "
				    "has no help",
				    texts[0], options[i].key);
	}
	return true;
}

static bool check_frame_ops(const char *path, const void *data, GError **error)
{
	const struct frame_ops *ops = data;
	const char *const texts[] = { ops->name, ops->id, ops->summary };

	return check_common(path, texts, ops->caps, frame_cap_names, ops->options,
			    missing_function(ops), error);
}

static bool same_frames(const void *native, const void *probed)
{
	const struct frame_ops *a = native, *b = probed;

	return strcmp(a->name, b->name) == 0 && a->caps == b->caps && !a->options == !b->options;
}

static const char *missing_heap_function(const struct heap_ops *ops)
{
	return !ops->state_bytes				  ? "state_bytes"
	       : !ops->init					  ? "init"
	       : !ops->alloc					  ? "alloc"
	       : !ops->free					  ? "free"
	       : !ops->usable					  ? "usable"
	       : !ops->stats					  ? "stats"
	       : !ops->walk					  ? "walk"
	       : !ops->check					  ? "check"
	       : (ops->caps & HEAP_CAP_TAGS) && !ops->tag	  ? "tag"
	       : (ops->caps & HEAP_CAP_RESIZE) && !ops->resize	  ? "resize"
	       : (ops->caps & HEAP_CAP_CACHES) && !ops->cache_new ? "cache_new"
	       : (ops->caps & HEAP_CAP_COLLECTS) && !ops->collect ? "collect"
								  : NULL;
}

static bool check_heap_ops(const char *path, const void *data, GError **error)
{
	const struct heap_ops *ops = data;
	const char *const texts[] = { ops->name, ops->id, ops->summary };

	return check_common(path, texts, ops->caps, heap_cap_names, ops->options,
			    missing_heap_function(ops), error);
}

static bool same_heap(const void *native, const void *probed)
{
	const struct heap_ops *a = native, *b = probed;

	return strcmp(a->name, b->name) == 0 && a->caps == b->caps && !a->options == !b->options;
}

static const struct kind frames_kind = {
	.symbol = KMEMLAB_PLUGIN_SYMBOL,
	.probed_symbol = PROBED KMEMLAB_PLUGIN_SYMBOL,
	.macro = "KMEMLAB_FRAMES_PLUGIN",
	.bytes = { sizeof(struct frame_ops), sizeof(struct frame_config),
		   sizeof(struct frame_request), sizeof(struct frame_stats),
		   sizeof(struct memmap) },
	.check_ops = check_frame_ops,
	.same = same_frames,
};

static const struct kind heap_kind = {
	.symbol = KMEMLAB_HEAP_PLUGIN_SYMBOL,
	.probed_symbol = PROBED KMEMLAB_HEAP_PLUGIN_SYMBOL,
	.macro = "KMEMLAB_HEAP_PLUGIN",
	.bytes = { sizeof(struct heap_ops), sizeof(struct heap_config), sizeof(struct heap_request),
		   sizeof(struct heap_stats), sizeof(struct memmap) },
	.check_ops = check_heap_ops,
	.same = same_heap,
};

static bool check_plugin(const char *path, const struct kind *kind, const struct header *header,
			 GError **error)
{
	if (header->abi != KMEMLAB_PLUGIN_ABI)
		return fail(error, path,
			    "was built for plugin ABI %u, and this kmemlab has %u: build it again",
			    header->abi, KMEMLAB_PLUGIN_ABI);
	if (memcmp(header->bytes, kind->bytes, sizeof(kind->bytes)) != 0)
		return fail(error, path,
			    "was built against other headers than this kmemlab's: build it again");
	if (!header->ops)
		return fail(error, path, "the plugin has no ops");
	return kind->check_ops(path, header->ops, error);
}

/* ---- loading ---- */

static void *open_object(const char *path)
{
	char *placed = strchr(path, '/') ? g_strdup(path) : g_strconcat("./", path, NULL);
	void *handle = dlopen(placed, RTLD_NOW | RTLD_LOCAL);

	g_free(placed);
	return handle;
}

static bool opens(void *path)
{
	return open_object(path) != NULL;
}

static bool load(const char *path, const struct kind *kind, const void *ops[PASSES], GError **error)
{
	const char *const symbols[PASSES] = {
		[PASS_NATIVE] = kind->symbol, [PASS_PROBED] = kind->probed_symbol
	};

	if (!examine(path, kind, error))
		return false;
	/* A damaged file can be the dynamic linker's end. */
	bool opened = trial_guard(opens, (void *)(uintptr_t)path, OPEN_CPU_MS);
	void *handle = opened ? open_object(path) : NULL;
	if (!handle) {
		const char *why = dlerror();
		return fail(error, path, "cannot be loaded%s%s", why ? ": " : "", why ? why : "");
	}
	for (unsigned pass = 0; pass < PASSES; pass++) {
		const struct header *header = dlsym(handle, symbols[pass]);
		ops[pass] = NULL;
		if (!header && pass == PASS_PROBED)
			continue;
		if (!header || !check_plugin(path, kind, header, error))
			return false;
		ops[pass] = header->ops;
	}
	if (ops[PASS_PROBED] && !kind->same(ops[PASS_NATIVE], ops[PASS_PROBED]))
		return fail(error, path, "its native and its probed half are not the same system");
	return true;
}

bool plugin_load(const char *path, const struct frame_ops *frames[PASSES], GError **error)
{
	const void *ops[PASSES];

	if (!load(path, &frames_kind, ops, error))
		return false;
	for (unsigned pass = 0; pass < PASSES; pass++)
		frames[pass] = ops[pass];
	return true;
}

bool plugin_load_heap(const char *path, const struct heap_ops *heap[PASSES], GError **error)
{
	const void *ops[PASSES];

	if (!load(path, &heap_kind, ops, error))
		return false;
	for (unsigned pass = 0; pass < PASSES; pass++)
		heap[pass] = ops[pass];
	return true;
}
