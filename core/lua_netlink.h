/* What the files of module `moonlb.core.netlink` share. */
#ifndef MLB_LUA_NETLINK_H
#define MLB_LUA_NETLINK_H

#include <lua.h>

#include "netlink.h"

struct mlb_netlink_monitor;

struct mlb_lua_netlink {
	struct mlb_netlink netlink;
	struct mlb_netlink_monitor *monitor;	/* NULL: nobody listens */
};

/* Push one table; its fields are those of core/README.md. */
void mlb_push_link(lua_State *L, const struct mlb_link *link);
void mlb_push_route(lua_State *L, const struct mlb_route *route);

/* Push the table of whatever kind of thing it is, without `type` and `action`. */
void mlb_push_netlink_thing(lua_State *L, const struct mlb_netlink_event *event);

/* Push {arp_ignore=, ...}: one field a setting that the kernel told. */
void mlb_push_ipv4_conf(lua_State *L, const struct mlb_link *link);

/* RT_SCOPE_* of a scope's name, or -1. */
int mlb_scope_number(const char *name);

/* Call the function at `callback` with (err, event) until mlb_netlink_monitor_stop; pins it and the value at `owner`.
 * 0 with `*ret_monitor`, or -errno. */
int mlb_netlink_monitor_start(lua_State *L, int owner, int callback, struct mlb_netlink_monitor **ret_monitor);
void mlb_netlink_monitor_stop(lua_State *L, struct mlb_netlink_monitor *monitor);

#endif
