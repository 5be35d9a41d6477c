/* core/lua_ndp.c: module `moonlb.core.ndp`; mechanism is core/ndp.c and core/packet.c. */
#include <string.h>

#include "lua_util.h"
#include "lua_wire.h"
#include "ndp.h"

/* The fields that both messages have; the link-layer address option is left out when absent. */
static void read_message(lua_State *L, struct mlb_ndp *ndp)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	mlb_field_mac(L, "source", false, ndp->source_mac);
	mlb_field_mac(L, "destination", false, ndp->destination_mac);
	mlb_field_ipv6(L, "source_ip", &ndp->source);
	mlb_field_ipv6(L, "destination_ip", &ndp->destination);
	mlb_field_ipv6(L, "target", &ndp->target);
	ndp->has_link_address = mlb_opt_string(L, 1, "link_address", NULL) != NULL;
	mlb_field_mac(L, "link_address", true, ndp->link_address);
}

static int push_frame(lua_State *L, const struct mlb_ndp *ndp)
{
	struct mlb_frame frame;

	mlb_ndp_encode(ndp, &frame);
	lua_pushlstring(L, (const char *)frame.bytes, frame.length);
	return 1;
}

/* moonlb.core.ndp.encode_ns{source, destination, source_ip, destination_ip, target, link_address = nil} -> frame: a neighbour
 * solicitation (RFC 4861 section 4.3); `source` and `destination` are MACs, `link_address` the source link-layer option. */
static int ndp_encode_ns(lua_State *L)
{
	struct mlb_ndp ndp = { .type = MLB_NDP_SOLICITATION };

	read_message(L, &ndp);
	return push_frame(L, &ndp);
}

/* moonlb.core.ndp.encode_na{as encode_ns, is_router, is_solicited, is_override} -> frame: a neighbour advertisement
 * (RFC 4861 section 4.4); `link_address` is the target link-layer option. */
static int ndp_encode_na(lua_State *L)
{
	struct mlb_ndp ndp = { .type = MLB_NDP_ADVERTISEMENT };

	read_message(L, &ndp);
	ndp.is_router = mlb_opt_boolean(L, 1, "is_router", false);
	ndp.is_solicited = mlb_opt_boolean(L, 1, "is_solicited", false);
	ndp.is_override = mlb_opt_boolean(L, 1, "is_override", false);
	return push_frame(L, &ndp);
}

static void set_flag(lua_State *L, const char *name, bool value)
{
	lua_pushboolean(L, value);
	lua_setfield(L, -2, name);
}

/* moonlb.core.ndp.decode(frame) -> {type = "ns"|"na", and the fields that encode_ns or encode_na takes}
 * | nil, message, "EBADMSG" */
static int ndp_decode(lua_State *L)
{
	size_t length;
	const char *bytes = luaL_checklstring(L, 1, &length);
	struct mlb_ndp ndp;
	const char *why;

	if (mlb_ndp_decode((const uint8_t *)bytes, length, &ndp, &why) < 0)
		return mlb_push_failure(L, lua_pushfstring(L, "not a neighbour discovery frame: %s", why), "EBADMSG");
	lua_createtable(L, 0, 10);
	lua_pushstring(L, ndp.type == MLB_NDP_SOLICITATION ? "ns" : "na");
	lua_setfield(L, -2, "type");
	mlb_set_mac(L, "source", ndp.source_mac);
	mlb_set_mac(L, "destination", ndp.destination_mac);
	mlb_set_address(L, "source_ip", AF_INET6, &ndp.source);
	mlb_set_address(L, "destination_ip", AF_INET6, &ndp.destination);
	mlb_set_address(L, "target", AF_INET6, &ndp.target);
	if (ndp.has_link_address)
		mlb_set_mac(L, "link_address", ndp.link_address);
	if (ndp.type == MLB_NDP_ADVERTISEMENT) {
		set_flag(L, "is_router", ndp.is_router);
		set_flag(L, "is_solicited", ndp.is_solicited);
		set_flag(L, "is_override", ndp.is_override);
	}
	return 1;
}

static size_t unsolicited_frames(lua_State *L, int arg, const uint8_t mac[MLB_MAC_SIZE],
				 struct mlb_frame ret_frames[MLB_FRAMES_MOST])
{
	struct in6_addr address;

	mlb_check_ipv6(L, arg, &address);
	mlb_ndp_unsolicited(mac, &address, &ret_frames[0]);
	return 1;
}

/* moonlb.core.ndp.announce(index, mac, addresses[, patience=0.01]) -> sent | nil, message, code: an unsolicited advertisement
 * with Override to all nodes from each IPv6 address (RFC 4861 section 7.2.6). `sent` as in moonlb.core.arp.announce. */
static int ndp_announce(lua_State *L)
{
	return mlb_announce(L, "ndp.announce", unsolicited_frames);
}

/* moonlb.core.ndp.probe(index, mac, address) -> true | nil, message, code: one solicitation of duplicate address detection
 * (RFC 4862 section 5.4.2). */
static int ndp_probe(lua_State *L)
{
	unsigned index = mlb_check_index(L, 1);
	uint8_t mac[MLB_MAC_SIZE];
	struct in6_addr address;
	struct mlb_frame frame;

	mlb_check_mac(L, 2, mac);
	mlb_check_ipv6(L, 3, &address);
	mlb_ndp_probe(mac, &address, &frame);
	return mlb_send_one(L, "ndp.probe", index, &frame);
}

static const luaL_Reg functions[] = {
	{ "announce", ndp_announce },
	{ "decode", ndp_decode },
	{ "encode_na", ndp_encode_na },
	{ "encode_ns", ndp_encode_ns },
	{ "probe", ndp_probe },
	{ NULL, NULL },
};

int luaopen_moonlb_core_ndp(lua_State *L);

int luaopen_moonlb_core_ndp(lua_State *L)
{
	luaL_newlib(L, functions);
	return 1;
}
