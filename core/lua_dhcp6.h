/* What the two files of module `moonlb.core.dhcp6` share. */
#ifndef MLB_LUA_DHCP6_H
#define MLB_LUA_DHCP6_H

#include <netinet/in.h>

#include <lua.h>

#include "dhcp6.h"

/* Functions of the module that make and read messages and frames. */
int mlb_lua_dhcp6_decode(lua_State *L);
int mlb_lua_dhcp6_encode(lua_State *L);
int mlb_lua_dhcp6_unwrap(lua_State *L);
int mlb_lua_dhcp6_wrap(lua_State *L);

/* Field `name` of the table at `table`: an IPv6 address (:: when it is absent), a DUID as bytes (length 0 when it is absent). */
void mlb_field_in6(lua_State *L, int table, const char *name, struct in6_addr *ret_address);
void mlb_field_duid(lua_State *L, int table, const char *name, struct mlb_dhcp6_duid *ret_duid);

#endif
