#include "sim/walk_memory.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "sim/lab.h"

#define PT_PAGES_MAGIC	      "PTPAGES1"
#define PT_PAGES_HEADER_BYTES 48u		      /* magic, cr0, cr3, cr4, efer, n */
#define PT_PAGES_RECORD_BYTES (8ull + X86_PAGE_BYTES) /* frame number, contents */

/* Wherever CR3 points in PAE mode: its PDPTEs are loaded, as zeros where the file lacks them. */
#define RAM_MIN (4ull << 30)

/* A compressed file that unpacks to more than this is refused: it is unpacked in memory. */
#define UNPACKED_MAX (16ull << 30)

static bool bad_file(GError **error, const char *path, const char *format, ...) G_GNUC_PRINTF(3, 4);

static bool bad_file(GError **error, const char *path, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	char *what = g_strdup_vprintf(format, arguments);
	va_end(arguments);
	g_set_error(error, LAB_ERROR, LAB_ERROR_INPUT, "%s: %s", path, what);
	g_free(what);
	return false;
}

/* ---- The bytes of the file ---- */

static bool map_file(struct walk_memory *memory, int fd, const char *path, GError **error)
{
	struct stat status;

	if (fstat(fd, &status) != 0)
		return bad_file(error, path, "%s", g_strerror(errno));
	if (!S_ISREG(status.st_mode))
		return bad_file(error, path, "is not a regular file");
	if (status.st_size == 0)
		return bad_file(error, path, "is empty");
	void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return bad_file(error, path, "%s", g_strerror(errno));
	memory->file = bytes;
	memory->file_bytes = (uint64_t)status.st_size;
	return true;
}

static bool write_all(int fd, const char *bytes, size_t left)
{
	while (left > 0) {
		ssize_t done = write(fd, bytes, left);
		if (done < 0 && errno != EINTR)
			return false;
		if (done > 0) {
			bytes += done;
			left -= (size_t)done;
		}
	}
	return true;
}

/* Decompresses the mapped file into @fd. */
static bool unpack(const struct walk_memory *memory, int fd, const char *path, GError **error)
{
	ZSTD_DCtx *context = ZSTD_createDCtx();
	ZSTD_inBuffer in = { memory->file, memory->file_bytes, 0 };
	size_t out_bytes = ZSTD_DStreamOutSize(), status = 1;
	char *buffer = g_malloc(out_bytes);
	uint64_t total = 0;
	bool fine = true;

	while (fine && (in.pos < in.size || status != 0)) {
		ZSTD_outBuffer out = { buffer, out_bytes, 0 };
		size_t at = in.pos;

		status = ZSTD_decompressStream(context, &out, &in);
		total += out.pos;
		if (ZSTD_isError(status))
			fine = bad_file(error, path, "damaged zstd data");
		else if (out.pos == 0 && in.pos == at)
			fine = bad_file(error, path, "truncated zstd data");
		else if (total > UNPACKED_MAX)
			fine = bad_file(error, path, "unpacks to more than 16 GiB");
		else if (!write_all(fd, buffer, out.pos))
			fine = bad_file(error, path, "cannot unpack: %s", g_strerror(errno));
	}
	g_free(buffer);
	ZSTD_freeDCtx(context);
	return fine;
}

static bool map_unpacked(struct walk_memory *memory, const char *path, GError **error)
{
	int fd = memfd_create("kmemlab-walk", MFD_CLOEXEC);

	if (fd < 0)
		return lab_set_errno(error, "memfd_create");
	bool fine = unpack(memory, fd, path, error);
	munmap((void *)(uintptr_t)memory->file, memory->file_bytes);
	memory->file = NULL;
	fine = fine && map_file(memory, fd, path, error);
	close(fd);
	return fine;
}

static bool starts_with(const struct walk_memory *memory, const void *magic, size_t bytes)
{
	return memory->file_bytes >= bytes && memcmp(memory->file, magic, bytes) == 0;
}

static bool open_file(struct walk_memory *memory, const char *path, GError **error)
{
	static const uint8_t zstd_magic[] = { 0x28, 0xb5, 0x2f, 0xfd };
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return bad_file(error, path, "%s", g_strerror(errno));
	bool fine = map_file(memory, fd, path, error);
	close(fd);
	if (fine && starts_with(memory, zstd_magic, sizeof(zstd_magic)))
		fine = map_unpacked(memory, path, error);
	return fine;
}

/* ---- The spans of each format ---- */

static void add_span(struct walk_memory *memory, uint64_t first, uint64_t bytes, uint64_t offset)
{
	struct walk_span span = { first, first + bytes, offset };

	g_array_append_val(memory->spans, span);
}

/* Bytes of physical memory that start there fit below the limit. */
static bool in_reach(uint64_t first, uint64_t bytes)
{
	return first < WALK_PADDR_LIMIT && bytes <= WALK_PADDR_LIMIT - first;
}

static bool read_raw(struct walk_memory *memory, uint64_t base, const char *path, GError **error)
{
	memory->format = "raw dump";
	if (!in_reach(base, memory->file_bytes)) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_USAGE,
			    "--base %#" G_GINT64_MODIFIER "x: physical addresses end at 64 TiB",
			    base);
		return false;
	}
	add_span(memory, base, memory->file_bytes, 0);
	return true;
}

static bool read_pt_pages(struct walk_memory *memory, uint64_t base, const char *path,
			  GError **error)
{
	uint64_t head[5];

	memory->format = "pt-pages";
	if (memory->file_bytes < PT_PAGES_HEADER_BYTES)
		return bad_file(error, path, "truncated in its header");
	memcpy(head, memory->file + 8, sizeof(head));
	uint64_t records = (memory->file_bytes - PT_PAGES_HEADER_BYTES) / PT_PAGES_RECORD_BYTES;
	if (head[4] > records)
		return bad_file(error, path,
				"truncated: %" G_GUINT64_FORMAT
				" frames announced, %" G_GUINT64_FORMAT " there",
				head[4], records);
	memory->has_state = true;
	memory->state = (struct mmu_state){
		.cr0 = head[0], .cr3 = head[1], .cr4 = head[2], .efer = head[3]
	};
	for (uint64_t i = 0; i < head[4]; i++) {
		uint64_t at = PT_PAGES_HEADER_BYTES + i * PT_PAGES_RECORD_BYTES, frame;
		memcpy(&frame, memory->file + at, 8);
		if (frame >= WALK_PADDR_LIMIT / X86_PAGE_BYTES)
			return bad_file(error, path,
					"frame %#" G_GINT64_MODIFIER "x lies beyond 64 TiB", frame);
		add_span(memory, frame * X86_PAGE_BYTES, X86_PAGE_BYTES, at + 8);
	}
	return true;
}

/* One program header, of either class. */
struct segment {
	uint32_t type;
	uint64_t offset, paddr, file_bytes;
};

static struct segment read_segment(const uint8_t *header, bool wide)
{
	Elf64_Phdr h64;
	Elf32_Phdr h32;

	if (wide) {
		memcpy(&h64, header, sizeof(h64));
		return (struct segment){ h64.p_type, h64.p_offset, h64.p_paddr, h64.p_filesz };
	}
	memcpy(&h32, header, sizeof(h32));
	return (struct segment){ h32.p_type, h32.p_offset, h32.p_paddr, h32.p_filesz };
}

/* What is needed of an ELF header, of either class. */
struct elf_shape {
	bool wide;
	uint16_t type;
	uint64_t headers, header_bytes, count; /* program headers */
	uint64_t sections;
};

static bool read_elf_header(const struct walk_memory *memory, struct elf_shape *shape,
			    const char *path, GError **error)
{
	Elf64_Ehdr h64;
	Elf32_Ehdr h32;
	uint8_t class = memory->file_bytes > EI_DATA ? memory->file[EI_CLASS] : ELFCLASSNONE;

	shape->wide = class == ELFCLASS64;
	if (class != ELFCLASS64 && class != ELFCLASS32)
		return bad_file(error, path, "an ELF file of no known class");
	if (memory->file_bytes < (shape->wide ? sizeof(h64) : sizeof(h32)))
		return bad_file(error, path, "truncated in its ELF header");
	if (memory->file[EI_DATA] != ELFDATA2LSB)
		return bad_file(error, path, "a big-endian ELF file: no memory of an x86 machine");
	if (shape->wide) {
		memcpy(&h64, memory->file, sizeof(h64));
		*shape = (struct elf_shape){ true,	  h64.e_type, h64.e_phoff, h64.e_phentsize,
					     h64.e_phnum, h64.e_shoff };
	} else {
		memcpy(&h32, memory->file, sizeof(h32));
		*shape = (struct elf_shape){ false,	      h32.e_type,  h32.e_phoff,
					     h32.e_phentsize, h32.e_phnum, h32.e_shoff };
	}
	return true;
}

/* More than 65534 program headers: their number is sh_info of section 0. */
static bool read_extended_count(const struct walk_memory *memory, struct elf_shape *shape,
				const char *path, GError **error)
{
	uint64_t at = shape->sections +
		      (shape->wide ? offsetof(Elf64_Shdr, sh_info) : offsetof(Elf32_Shdr, sh_info));
	uint32_t count;

	if (at < shape->sections || at > memory->file_bytes || memory->file_bytes - at < 4)
		return bad_file(error, path, "truncated: no section header 0");
	memcpy(&count, memory->file + at, 4);
	shape->count = count;
	return true;
}

static bool read_elf(struct walk_memory *memory, uint64_t base, const char *path, GError **error)
{
	struct elf_shape shape = { 0 };

	memory->format = "ELF core";
	if (!read_elf_header(memory, &shape, path, error))
		return false;
	if (shape.type != ET_CORE)
		return bad_file(error, path,
				"an ELF file, but no core: make one with dump-guest-memory");
	if (shape.count == PN_XNUM && !read_extended_count(memory, &shape, path, error))
		return false;
	if (shape.header_bytes < (shape.wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)) ||
	    shape.headers > memory->file_bytes ||
	    shape.count > (memory->file_bytes - shape.headers) / shape.header_bytes)
		return bad_file(error, path, "truncated in its program headers");
	for (uint64_t i = 0; i < shape.count; i++) {
		struct segment s = read_segment(
			memory->file + shape.headers + i * shape.header_bytes, shape.wide);
		if (s.type != PT_LOAD || s.file_bytes == 0)
			continue;
		if (s.offset > memory->file_bytes || s.file_bytes > memory->file_bytes - s.offset)
			return bad_file(
				error, path,
				"truncated: segment %" G_GUINT64_FORMAT " ends beyond the file", i);
		if (!in_reach(s.paddr, s.file_bytes))
			return bad_file(error, path,
					"segment %" G_GUINT64_FORMAT
					" lies beyond 64 TiB of physical memory",
					i);
		add_span(memory, s.paddr, s.file_bytes, s.offset);
	}
	return true;
}

static gint by_first(gconstpointer a, gconstpointer b)
{
	const struct walk_span *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

/* Sorts the spans and cuts what an earlier one has already: a core of virtual memory repeats. */
static void settle_spans(struct walk_memory *memory)
{
	GArray *spans = memory->spans;
	uint64_t end = 0;
	guint kept = 0;

	g_array_sort(spans, by_first);
	for (guint i = 0; i < spans->len; i++) {
		struct walk_span span = g_array_index(spans, struct walk_span, i);
		if (span.end <= end)
			continue;
		uint64_t cut = span.first < end ? end - span.first : 0;
		span.first += cut;
		span.offset += cut;
		end = span.end;
		g_array_index(spans, struct walk_span, kept++) = span;
	}
	g_array_set_size(spans, kept);
}

static const struct {
	const char *magic;
	bool (*read)(struct walk_memory *memory, uint64_t base, const char *path, GError **error);
} formats[] = {
	{ PT_PAGES_MAGIC, read_pt_pages },
	{ ELFMAG, read_elf },
	{ "", read_raw },
};

static bool read_spans(struct walk_memory *memory, uint64_t base, const char *path, GError **error)
{
	unsigned i = 0;

	if (starts_with(memory, "KDUMP   ", 8) || starts_with(memory, "makedumpfile", 12))
		return bad_file(error, path,
				"a kdump-compressed dump: use dump-guest-memory without -z, -l or "
				"-s");
	while (!starts_with(memory, formats[i].magic, strlen(formats[i].magic)))
		i++;
	if (base != 0 && formats[i].read != read_raw) {
		g_set_error(error, LAB_ERROR, LAB_ERROR_USAGE,
			    "--base is for raw dumps; %s says itself where its memory lies", path);
		return false;
	}
	return formats[i].read(memory, base, path, error);
}

static bool reserve_ram(struct walk_memory *memory, const char *path, GError **error)
{
	const struct walk_span *last;

	if (memory->spans->len == 0)
		return bad_file(error, path, "holds no memory");
	last = &g_array_index(memory->spans, struct walk_span, memory->spans->len - 1);
	uint64_t bytes = (last->end + X86_PAGE_BYTES - 1) & ~(X86_PAGE_BYTES - 1ull);
	bytes = MAX(bytes, RAM_MIN);
	void *ram = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ram == MAP_FAILED)
		return lab_set_errno(error, "reserving the machine's address range");
	memory->ram = (struct mmu_memory){ .bytes = ram, .bytes_size = bytes };
	return true;
}

struct walk_memory *walk_memory_open(const char *path, uint64_t base, GError **error)
{
	struct walk_memory *memory = g_new0(struct walk_memory, 1);

	memory->spans = g_array_new(FALSE, FALSE, sizeof(struct walk_span));
	memory->copied = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	bool fine = open_file(memory, path, error) && read_spans(memory, base, path, error);
	if (fine) {
		settle_spans(memory);
		fine = reserve_ram(memory, path, error);
	}
	if (!fine) {
		walk_memory_free(memory);
		return NULL;
	}
	return memory;
}

void walk_memory_free(struct walk_memory *memory)
{
	if (memory->file)
		munmap((void *)(uintptr_t)memory->file, memory->file_bytes);
	if (memory->ram.bytes)
		munmap(memory->ram.bytes, memory->ram.bytes_size);
	g_hash_table_unref(memory->copied);
	g_array_unref(memory->spans);
	g_free(memory);
}

/* ---- Reading ---- */

/* The index of the first span that ends beyond @paddr. */
static guint find_span(const struct walk_memory *memory, uint64_t paddr)
{
	guint low = 0, high = memory->spans->len;

	while (low < high) {
		guint middle = low + (high - low) / 2;
		if (g_array_index(memory->spans, struct walk_span, middle).end > paddr)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

bool walk_memory_holds(const struct walk_memory *memory, uint64_t paddr, uint64_t bytes)
{
	uint64_t at = paddr;

	for (guint i = find_span(memory, paddr); i < memory->spans->len; i++) {
		const struct walk_span *span = &g_array_index(memory->spans, struct walk_span, i);
		if (span->first > at)
			return false;
		if (span->end - paddr >= bytes)
			return true;
		at = span->end;
	}
	return false;
}

/* What the file has of [paddr, paddr + bytes) goes to @to. */
static void copy_out(const struct walk_memory *memory, uint64_t paddr, uint64_t bytes, uint8_t *to)
{
	for (guint i = find_span(memory, paddr); i < memory->spans->len; i++) {
		const struct walk_span *span = &g_array_index(memory->spans, struct walk_span, i);
		uint64_t first = MAX(span->first, paddr), end = MIN(span->end, paddr + bytes);
		if (first >= end)
			return;
		memcpy(to + (first - paddr), memory->file + span->offset + (first - span->first),
		       end - first);
	}
}

const uint8_t *walk_memory_bytes(const struct walk_memory *memory, uint64_t paddr, uint64_t bytes)
{
	guint i = find_span(memory, paddr);

	if (i == memory->spans->len)
		return NULL;
	const struct walk_span *span = &g_array_index(memory->spans, struct walk_span, i);
	if (span->first > paddr || span->end - paddr < bytes)
		return NULL;
	return memory->file + span->offset + (paddr - span->first);
}

bool walk_memory_entry(const struct walk_memory *memory, uint64_t paddr, unsigned bytes,
		       uint64_t *value)
{
	*value = 0;
	if (!walk_memory_holds(memory, paddr, bytes))
		return false;
	copy_out(memory, paddr, bytes, (uint8_t *)value);
	return true;
}

bool walk_memory_want(struct walk_memory *memory, uint64_t paddr)
{
	gint64 frame = (gint64)(paddr / X86_PAGE_BYTES);
	uint64_t first = (uint64_t)frame * X86_PAGE_BYTES;

	if (first >= memory->ram.bytes_size || g_hash_table_contains(memory->copied, &frame))
		return false;
	gint64 *key = g_new(gint64, 1);
	*key = frame;
	g_hash_table_add(memory->copied, key);
	copy_out(memory, first, X86_PAGE_BYTES, memory->ram.bytes + first);
	return true;
}

bool walk_memory_walk(struct walk_memory *memory, const struct mmu_cpu *cpu, uint64_t va,
		      const struct mmu_access *access, struct mmu_walk *walk, uint64_t *missing)
{
	bool again = true;

	while (again) {
		again = false;
		mmu_walk(cpu, (struct vaddr){ va }, access, walk);
		for (uint32_t i = 0; i < walk->count && !again; i++) {
			const struct mmu_walk_entry *entry = &walk->entry[i];
			if (!walk_memory_holds(memory, entry->at.a, entry->bytes)) {
				*missing = entry->at.a;
				return false;
			}
			again = walk_memory_want(memory, entry->at.a);
		}
	}
	return true;
}
