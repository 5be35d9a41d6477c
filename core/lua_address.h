/* What the two files of module `moonlb.core.address` share. */
#ifndef MLB_LUA_ADDRESS_H
#define MLB_LUA_ADDRESS_H

#include <lua.h>

#include "address.h"

/* The address at `arg`; what is none raises and says why. */
struct mlb_address mlb_check_address(lua_State *L, int arg);

/* Push the canonical text. */
void mlb_push_address(lua_State *L, const struct mlb_address *address);

/* Prepare the class of sets; push nothing. And the module's functions that make or take a set. */
void mlb_open_address_set(lua_State *L);
int mlb_lua_address_set(lua_State *L);
int mlb_lua_address_hash(lua_State *L);

#endif
