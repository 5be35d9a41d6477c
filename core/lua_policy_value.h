/* Lua values to and from the wire form of policy_value.h. Raw access only: no metamethod ever runs. */
#ifndef MLB_LUA_POLICY_VALUE_H
#define MLB_LUA_POLICY_VALUE_H

#include <lua.h>

#include "policy_value.h"

/* Append the value at `arg`. JSON nulls (light userdata NULL) in tables are left out. 0, or -EMSGSIZE (full),
 * -EINVAL (a function, userdata or thread; a key that is neither string nor number), -ELOOP (too deep, or cyclic). */
int mlb_policy_pack(lua_State *L, int arg, struct mlb_policy_writer *writer);

/* Push the next value of a reader that mlb_policy_check has accepted. May raise for want of memory. */
void mlb_policy_push(lua_State *L, struct mlb_policy_reader *reader);

#endif
