/* What the bindings of DHCPv4 and DHCPv6 share. Infinite times are INT64_MAX in C and math.huge in Lua. */
#ifndef MLB_LUA_DHCP_H
#define MLB_LUA_DHCP_H

#include <stdint.h>

#include <lua.h>

#include "dhcp.h"
#include "dhcp_identity.h"

/* Functions of module `moonlb.core.dhcp` that make and read messages, frames and identities. */
int mlb_lua_dhcp_client_id(lua_State *L);
int mlb_lua_dhcp_decode(lua_State *L);
int mlb_lua_dhcp_encode(lua_State *L);
int mlb_lua_dhcp_mac(lua_State *L);
int mlb_lua_dhcp_unwrap(lua_State *L);
int mlb_lua_dhcp_wrap(lua_State *L);

/* An IPv4 address in host order: field `name` of the table at 1 (0 when it is absent), and one set in the table on top of
 * the stack, unless it is 0. */
uint32_t mlb_field_host_ipv4(lua_State *L, int table, const char *name);
void mlb_set_host_ipv4(lua_State *L, const char *name, uint32_t address);

/* A text or bytes of field `name`; absent: length 0. Longer than `most` raises. */
void mlb_field_dhcp_bytes(lua_State *L, int table, const char *name, size_t most, struct mlb_dhcp_bytes *ret_bytes);

/* Seconds of CLOCK_BOOTTIME at `arg`, in ms. */
int64_t mlb_check_boottime(lua_State *L, int arg);

/* Seconds in field `name` of the table at `table`, in ms; `fallback` when it is absent. */
int64_t mlb_field_span(lua_State *L, int table, const char *name, int64_t fallback);

/* So long after `at`. */
int64_t mlb_point(int64_t at, int64_t after);

/* Set, in the table on top of the stack, how long after `at` a point is, in seconds. */
void mlb_set_span(lua_State *L, const char *name, int64_t at, int64_t until);

/* The identity that the texts at 1, 2 and 3 make: cluster, namespace, name. */
void mlb_check_dhcp_identity(lua_State *L, struct mlb_dhcp_identity *ret_identity);

#endif
