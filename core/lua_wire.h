/* What the bindings of arp, ndp and pulse share: arguments that are interfaces, MACs and addresses; the sending socket. */
#ifndef MLB_LUA_WIRE_H
#define MLB_LUA_WIRE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include <lua.h>
#include <lauxlib.h>

#include "ether.h"

/* An interface index, a MAC, an address at stack position `arg`. Anything else raises. */
unsigned mlb_check_index(lua_State *L, int arg);
void mlb_check_mac(lua_State *L, int arg, uint8_t ret_mac[MLB_MAC_SIZE]);
void mlb_check_ipv4(lua_State *L, int arg, struct in_addr *ret_address);
void mlb_check_ipv6(lua_State *L, int arg, struct in6_addr *ret_address);

/* The same for field `name` of the table at 1. An optional MAC that is absent is all zero. */
void mlb_field_mac(lua_State *L, const char *name, bool is_optional, uint8_t ret_mac[MLB_MAC_SIZE]);
void mlb_field_ipv4(lua_State *L, const char *name, struct in_addr *ret_address);
void mlb_field_ipv6(lua_State *L, const char *name, struct in6_addr *ret_address);

/* Set a field of the table on top of the stack. */
void mlb_set_mac(lua_State *L, const char *name, const uint8_t mac[MLB_MAC_SIZE]);
void mlb_set_address(lua_State *L, const char *name, int family, const void *address);

/* Build the frames that announce the address at stack position `arg`; raises for what is no address. */
#define MLB_FRAMES_MOST 2
typedef size_t mlb_frames_of(lua_State *L, int arg, const uint8_t mac[MLB_MAC_SIZE],
			     struct mlb_frame ret_frames[MLB_FRAMES_MOST]);

/* Body of `announce(index, mac, addresses[, patience]) -> sent | nil, message, code`: `sent` addresses, from the first
 * on, fewer than given when the interface's queue stayed full for `patience` seconds. */
int mlb_announce(lua_State *L, const char *what, mlb_frames_of *frames_of);

/* Send one frame on interface `index`: pushes true, or the error triple. Returns the number of values. */
int mlb_send_one(lua_State *L, const char *what, unsigned index, const struct mlb_frame *frame);

/* Push the triple of a failed system call on interface `index`; says what to do about EPERM. */
int mlb_push_wire_error(lua_State *L, int err, const char *what, unsigned index);

#endif
