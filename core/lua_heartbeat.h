/* What the bindings of heartbeats share: a body out of a Lua table, a heartbeat as one, keys. */
#ifndef MLB_LUA_HEARTBEAT_H
#define MLB_LUA_HEARTBEAT_H

#include <lua.h>

#include "segment.h"

/* A body for malloc'ed use from the table at `arg`:
 * {gives_all=, stale=, digest=, want={name=true}, relays={{group, term, node}}, statements={{group, term, giving}},
 * whole_id=integer|nil}; groups are 16-byte strings. Split so that each part has at most `room` bytes.
 * NULL when out of memory; misuse raises (nothing leaks). free(3) it. */
struct mlb_segment_body *mlb_check_body(lua_State *L, int arg, size_t room);

/* Push a heartbeat as moonlb.announcer.claims takes it: {from=, slot=, digest=, gives_all=, stale=, more=, mac=,
 * heard={[id]=true}, want={[me]=true} or {}, relays=, statements=, whole={id=, index=, total=}|nil}. */
void mlb_push_heartbeat(lua_State *L, const struct mlb_heartbeat *heartbeat, const char *me);

/* Keys from the 32-byte strings at `arg` and, unless nil, `arg` + 1. NULL when libcrypto fails. */
struct mlb_heartbeat_keys *mlb_check_keys(lua_State *L, int arg);

/* The segment's options from the table at `arg`: node, cluster (any text), vouch and silent (seconds). */
void mlb_check_segment_options(lua_State *L, int arg, struct mlb_segment_options *ret_options);

#endif
