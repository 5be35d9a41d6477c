/* Every module `require "moonlb.core.<name>"` finds; one line a module, sorted. */
#ifndef MLB_LUA_MODULES_H
#define MLB_LUA_MODULES_H

#include <lua.h>
#include <lauxlib.h>

extern const luaL_Reg mlb_lua_modules[];	/* full module name, opener; ends with NULL */

#endif
