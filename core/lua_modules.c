#include "lua_modules.h"

#define MODULE(name) int luaopen_moonlb_core_##name(lua_State *L);
#include "lua_modules.def"
#undef MODULE

#define MODULE(name) { "moonlb.core." #name, luaopen_moonlb_core_##name },
const luaL_Reg mlb_lua_modules[] = {
#include "lua_modules.def"
	{ NULL, NULL },
};
