/* The spec runner: moonlb's runtime, with busted as its main program. Specs `require` the core's modules as the
 * controller does. Unlike the daemon it also loads Debian's Lua packages (busted and what it needs).
 * `--script FILE [ARGUMENT]...` runs a Lua file instead of busted: the benches of spec/bench. */
#include <stdio.h>
#include <stdlib.h>

#include <lua.h>
#include <lauxlib.h>
#include <uv.h>

#include "policy_liar.h"
#include "policy_worker.h"
#include "runtime.h"

static const char prelude[] =
	"local root, libdir = ...\n"
	"package.path = root .. '/lua/?.lua;' .. root .. '/lua/?/init.lua;' .. root .. '/?.lua;'\n"
	"  .. '/usr/share/lua/5.4/?.lua;/usr/share/lua/5.4/?/init.lua'\n"
	"package.cpath = libdir .. '/lua/5.4/?.so'\n"
	"local function search(name)\n"
	"  local path = package.searchpath(name, package.path)\n"
	"  if path then return assert(loadfile(path)), path end\n"
	"  path = package.searchpath(name, package.cpath)\n"
	"  if not path then return 'no file for ' .. name end\n"
	"  return assert(package.loadlib(path, 'luaopen_' .. name:gsub('%.', '_'))), path\n"
	"end\n"
	"table.insert(package.searchers, 2, search)\n"
	"package.preload['spec.runner.main'] = function()\n"
	"  return { main = function(argv)\n"
	"    _G.arg = argv\n"
	"    if argv[1] == '--script' then\n"
	"      return assert(loadfile(argv[2]))(table.unpack(argv, 3)) or 0\n"
	"    end\n"
	"    os.exit = function(code) error({ exit = code == true and 0 or code or 0 }) end\n"
	"    local ok, err = pcall(require('busted.runner'), { standalone = false })\n"
	"    if type(err) == 'table' and err.exit then return err.exit end\n"
	"    if not ok then error(err, 0) end\n"
	"    return 0\n"
	"  end }\n"
	"end\n";

int main(int argc, char **argv)
{
	uv_loop_t *loop = uv_default_loop();
	struct lua_State *L;
	const char *root = getenv("MOONLB_ROOT");
	int code;

	if (mlb_policy_worker_wanted(argc, argv)) {
		policy_liar(argc, argv);
		mlb_policy_worker_main(argc, argv);
	}
	argv = uv_setup_args(argc, argv);
	L = mlb_runtime_open(loop);
	if (luaL_loadbufferx(L, prelude, sizeof(prelude) - 1, "=prelude", "t") != LUA_OK)
		goto failed;
	lua_pushstring(L, root ? root : ".");
	lua_pushstring(L, MLB_LIBDIR);
	if (lua_pcall(L, 2, 0, 0) != LUA_OK)
		goto failed;
	code = mlb_runtime_main(L, "spec.runner.main", argc, argv);
	mlb_runtime_close(L, loop);
	return code;

failed:
	fprintf(stderr, "runner: %s\n", lua_tostring(L, -1));
	return 1;
}
