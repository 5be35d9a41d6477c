/* What bindings share of the flight recorder. */
#ifndef MLB_LUA_FLIGHT_H
#define MLB_LUA_FLIGHT_H

#include <lua.h>

struct mlb_flight;

/* Append the frames of a ring, oldest first, behind the `count` items of the array on top of the stack; returns how many it
 * has then. */
lua_Integer mlb_push_frames(lua_State *L, struct mlb_flight *flight, lua_Integer count);

#endif
