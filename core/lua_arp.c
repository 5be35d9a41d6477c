/* core/lua_arp.c: module `moonlb.core.arp`; mechanism is core/arp.c and core/packet.c. */
#include <string.h>

#include "arp.h"
#include "lua_util.h"
#include "lua_wire.h"

/* moonlb.core.arp.encode{operation = "request"|"reply", sender_mac, sender_ip, target_mac, target_ip, source, destination}
 * -> frame. `target_mac` is zero, `source` the sender's MAC and `destination` broadcast when absent. */
static int arp_encode(lua_State *L)
{
	struct mlb_arp arp = { .operation = MLB_ARP_REQUEST };
	struct mlb_frame frame;
	const char *operation;

	luaL_checktype(L, 1, LUA_TTABLE);
	operation = mlb_check_string(L, 1, "operation");
	if (strcmp(operation, "reply") == 0)
		arp.operation = MLB_ARP_REPLY;
	else if (strcmp(operation, "request") != 0)
		return luaL_error(L, "operation: request or reply expected, got %s", operation);
	mlb_field_mac(L, "sender_mac", false, arp.sender_mac);
	mlb_field_ipv4(L, "sender_ip", &arp.sender_ip);
	mlb_field_mac(L, "target_mac", true, arp.target_mac);
	mlb_field_ipv4(L, "target_ip", &arp.target_ip);
	memcpy(arp.source, arp.sender_mac, MLB_MAC_SIZE);
	if (mlb_opt_string(L, 1, "source", NULL))
		mlb_field_mac(L, "source", false, arp.source);
	memcpy(arp.destination, mlb_mac_broadcast, MLB_MAC_SIZE);
	if (mlb_opt_string(L, 1, "destination", NULL))
		mlb_field_mac(L, "destination", false, arp.destination);
	mlb_arp_encode(&arp, &frame);
	lua_pushlstring(L, (const char *)frame.bytes, frame.length);
	return 1;
}

/* moonlb.core.arp.decode(frame) -> the fields that encode takes | nil, message, "EBADMSG" */
static int arp_decode(lua_State *L)
{
	size_t length;
	const char *bytes = luaL_checklstring(L, 1, &length);
	struct mlb_arp arp;
	const char *why;

	if (mlb_arp_decode((const uint8_t *)bytes, length, &arp, &why) < 0)
		return mlb_push_failure(L, lua_pushfstring(L, "not an ARP frame: %s", why), "EBADMSG");
	lua_createtable(L, 0, 7);
	lua_pushstring(L, arp.operation == MLB_ARP_REQUEST ? "request" : "reply");
	lua_setfield(L, -2, "operation");
	mlb_set_mac(L, "source", arp.source);
	mlb_set_mac(L, "destination", arp.destination);
	mlb_set_mac(L, "sender_mac", arp.sender_mac);
	mlb_set_address(L, "sender_ip", AF_INET, &arp.sender_ip);
	mlb_set_mac(L, "target_mac", arp.target_mac);
	mlb_set_address(L, "target_ip", AF_INET, &arp.target_ip);
	return 1;
}

static size_t gratuitous_frames(lua_State *L, int arg, const uint8_t mac[MLB_MAC_SIZE],
				struct mlb_frame ret_frames[MLB_FRAMES_MOST])
{
	struct in_addr ip;

	mlb_check_ipv4(L, arg, &ip);
	mlb_arp_gratuitous(MLB_ARP_REQUEST, mac, ip, &ret_frames[0]);
	mlb_arp_gratuitous(MLB_ARP_REPLY, mac, ip, &ret_frames[1]);
	return 2;
}

/* moonlb.core.arp.announce(index, mac, addresses[, patience=0.01]) -> sent | nil, message, code: a gratuitous request and a
 * gratuitous reply for each IPv4 address (RFC 5227 section 2.3, RFC 5944 section 4.6). `sent` addresses from the first on
 * went out; fewer than given when the interface's queue stayed full for `patience` seconds. */
static int arp_announce(lua_State *L)
{
	return mlb_announce(L, "arp.announce", gratuitous_frames);
}

/* moonlb.core.arp.probe(index, mac, address) -> true | nil, message, code: one probe (RFC 5227 section 2.1.1). */
static int arp_probe(lua_State *L)
{
	unsigned index = mlb_check_index(L, 1);
	uint8_t mac[MLB_MAC_SIZE];
	struct in_addr ip;
	struct mlb_frame frame;

	mlb_check_mac(L, 2, mac);
	mlb_check_ipv4(L, 3, &ip);
	mlb_arp_probe(mac, ip, &frame);
	return mlb_send_one(L, "arp.probe", index, &frame);
}

static const luaL_Reg functions[] = {
	{ "announce", arp_announce },
	{ "decode", arp_decode },
	{ "encode", arp_encode },
	{ "probe", arp_probe },
	{ NULL, NULL },
};

int luaopen_moonlb_core_arp(lua_State *L);

int luaopen_moonlb_core_arp(lua_State *L)
{
	luaL_newlib(L, functions);
	return 1;
}
