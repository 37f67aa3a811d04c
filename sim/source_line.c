#include "sim/source_line.h"

#include <elfutils/libdwfl.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

static Dwfl *open_self(void)
{
	static char *debug_path;
	static const Dwfl_Callbacks callbacks = {
		.find_elf = dwfl_linux_proc_find_elf,
		.find_debuginfo = dwfl_standard_find_debuginfo,
		.debuginfo_path = &debug_path,
	};
	Dwfl *dwfl = dwfl_begin(&callbacks);

	if (dwfl && (dwfl_linux_proc_report(dwfl, getpid()) != 0 ||
		     dwfl_report_end(dwfl, NULL, NULL) != 0)) {
		dwfl_end(dwfl);
		return NULL;
	}
	return dwfl;
}

/* A path inside the project without what leads to it; the kernel's sources are what anybody asks
 * for. */
static const char *shorten(const char *path)
{
	static const char *const roots[] = { "/alloc/", "/tests/" };

	for (gsize i = 0; i < G_N_ELEMENTS(roots); i++) {
		const char *at = g_strrstr(path, roots[i]);
		if (at)
			return at + 1;
	}
	return path;
}

/* libdw's handles belong to one thread at a time. */
static char *look_up(const void *pc)
{
	static Dwfl *dwfl;
	Dwarf_Addr address = (Dwarf_Addr)(uintptr_t)pc;

	if (!dwfl)
		dwfl = open_self();
	Dwfl_Module *module = dwfl ? dwfl_addrmodule(dwfl, address) : NULL;
	if (!module)
		return g_strdup_printf("code at %p", pc);
	const char *function = dwfl_module_addrname(module, address);
	Dwfl_Line *line = dwfl_module_getsrc(module, address);
	int number = 0;
	const char *file = line ? dwfl_lineinfo(line, NULL, &number, NULL, NULL, NULL) : NULL;
	if (function && g_str_has_prefix(function, "probed_"))
		function += strlen("probed_");
	if (!file)
		return g_strdup(function ? function : "code without debug information");
	return g_strdup_printf("%s:%d (%s)", shorten(file), number, function ? function : "?");
}

char *source_line(const void *pc)
{
	static GMutex lock;

	g_mutex_lock(&lock);
	char *line = look_up(pc);
	g_mutex_unlock(&lock);
	return line;
}
