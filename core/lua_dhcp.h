/* What the two files of module `moonlb.core.dhcp` share. */
#ifndef MLB_LUA_DHCP_H
#define MLB_LUA_DHCP_H

#include <lua.h>

#include "dhcp.h"

/* Functions of the module that make and read messages, frames and identities. */
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

#endif
