/* What a policy finds in its environment of the language itself: an allow-list, each function bounded. */
#ifndef MLB_LUA_POLICY_ENV_H
#define MLB_LUA_POLICY_ENV_H

#include <lua.h>

/* Prepare the state: builds the tables that environments are made of and locks the metatable of strings. The
 * standard libraries are open. */
void mlb_policy_open_environment(lua_State *L);

/* environment() -> table: a fresh one; its string, table, math and utf8 cannot be changed. */
int mlb_policy_environment(lua_State *L);

/* freeze(table) -> a view of it that reads as it does, cannot be changed and does not show its metatable. */
int mlb_policy_freeze(lua_State *L);

/* tostring(value) -> text: Lua's, but without addresses: they differ from run to run. */
int mlb_policy_tostring(lua_State *L);

/* The string functions that match patterns (lua_policy_match.c): find, gmatch, gsub, match into the table on top. */
void mlb_policy_add_matching(lua_State *L);

#endif
