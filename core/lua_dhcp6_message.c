/* core/lua_dhcp6_message.c: messages and frames of module `moonlb.core.dhcp6`; mechanism is core/dhcp6.c and
 * core/datagram6.c. */
#include <arpa/inet.h>
#include <string.h>

#include "datagram6.h"
#include "lua_dhcp6.h"
#include "lua_util.h"
#include "lua_wire.h"

void mlb_field_in6(lua_State *L, int table, const char *name, struct in6_addr *ret_address)
{
	const char *text = mlb_opt_string(L, table, name, "::");

	if (inet_pton(AF_INET6, text, ret_address) != 1)
		luaL_error(L, "%s: IPv6 address expected, got %s", name, text);
}

/* Bytes of field `name`, copied; their number. More than `most` raises. */
static size_t field_bytes(lua_State *L, int table, const char *name, size_t most, uint8_t *ret_bytes)
{
	size_t length = 0;
	const char *bytes;

	mlb_opt_string(L, table, name, NULL);
	lua_getfield(L, table, name);
	bytes = lua_tolstring(L, -1, &length);
	if (!bytes)
		length = 0;
	if (length > most)
		luaL_error(L, "%s: %d octets at most expected, got %d", name, (int)most, (int)length);
	if (length)
		memcpy(ret_bytes, bytes, length);
	lua_pop(L, 1);
	return length;
}

void mlb_field_duid(lua_State *L, int table, const char *name, struct mlb_dhcp6_duid *ret_duid)
{
	ret_duid->length = field_bytes(L, table, name, MLB_DHCP6_DUID_MOST, ret_duid->bytes);
}

static void set_integer(lua_State *L, const char *name, lua_Integer value)
{
	lua_pushinteger(L, value);
	lua_setfield(L, -2, name);
}

static void set_bytes(lua_State *L, const char *name, const uint8_t *bytes, size_t length)
{
	if (length == 0)
		return;
	lua_pushlstring(L, (const char *)bytes, length);
	lua_setfield(L, -2, name);
}

static void push_ia(lua_State *L, const struct mlb_dhcp6_message *message)
{
	lua_createtable(L, 0, 5);
	set_integer(L, "iaid", message->iaid);
	set_integer(L, "t1", message->t1_s);
	set_integer(L, "t2", message->t2_s);
	set_integer(L, "status", message->ia_status);
	lua_createtable(L, (int)message->naddresses, 0);
	for (size_t i = 0; i < message->naddresses; i++) {
		lua_createtable(L, 0, 3);
		mlb_set_address(L, "address", AF_INET6, &message->addresses[i].address);
		set_integer(L, "preferred", message->addresses[i].preferred_s);
		set_integer(L, "valid", message->addresses[i].valid_s);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "addresses");
}

/* moonlb.core.dhcp6.decode(message) -> table | nil, message, "EBADMSG": the first IA of the message. */
int mlb_lua_dhcp6_decode(lua_State *L)
{
	struct mlb_dhcp6_message message;
	size_t length;
	const char *bytes = luaL_checklstring(L, 1, &length);
	const char *why;

	if (mlb_dhcp6_decode((const uint8_t *)bytes, length, NULL, &message, &why) < 0)
		return mlb_push_failure(L, lua_pushfstring(L, "not a DHCPv6 message: %s", why), "EBADMSG");
	lua_createtable(L, 0, 11);
	lua_pushstring(L, mlb_dhcp6_type_name(message.type));
	lua_setfield(L, -2, "type");
	set_integer(L, "xid", message.xid);
	set_integer(L, "elapsed", message.elapsed_cs);
	set_integer(L, "preference", message.preference);
	set_integer(L, "status", message.status);
	if (message.solicit_max_s)
		set_integer(L, "solicit_max", message.solicit_max_s);
	set_bytes(L, "client", message.client.bytes, message.client.length);
	set_bytes(L, "server", message.server.bytes, message.server.length);
	set_bytes(L, "message", message.text, message.text_length);
	set_bytes(L, "fqdn", message.fqdn, message.fqdn_length);
	if (message.has_ia) {
		push_ia(L, &message);
		lua_setfield(L, -2, "ia");
	}
	return 1;
}

/* The IA on top of the stack. */
static void read_ia(lua_State *L, struct mlb_dhcp6_message *message)
{
	int ia = lua_gettop(L);

	luaL_checktype(L, ia, LUA_TTABLE);
	message->has_ia = true;
	message->iaid = (uint32_t)mlb_opt_integer(L, ia, "iaid", 0, 0, UINT32_MAX);
	message->t1_s = (uint32_t)mlb_opt_integer(L, ia, "t1", 0, 0, UINT32_MAX);
	message->t2_s = (uint32_t)mlb_opt_integer(L, ia, "t2", 0, 0, UINT32_MAX);
	message->ia_status = (uint16_t)mlb_opt_integer(L, ia, "status", 0, 0, UINT16_MAX);
	if (lua_getfield(L, ia, "addresses") == LUA_TTABLE) {
		lua_Integer count = luaL_len(L, -1);

		if (count > MLB_DHCP6_ADDRESSES)
			luaL_error(L, "ia.addresses: %d at most expected", MLB_DHCP6_ADDRESSES);
		for (lua_Integer i = 1; i <= count; i++) {
			struct mlb_dhcp6_address *address = &message->addresses[message->naddresses++];
			int at;

			lua_geti(L, -1, i);
			at = lua_gettop(L);
			luaL_checktype(L, at, LUA_TTABLE);
			mlb_field_in6(L, at, "address", &address->address);
			address->preferred_s = (uint32_t)mlb_opt_integer(L, at, "preferred", 0, 0, UINT32_MAX);
			address->valid_s = (uint32_t)mlb_opt_integer(L, at, "valid", 0, 0, UINT32_MAX);
			lua_pop(L, 1);
		}
	}
	lua_pop(L, 1);
}

/* moonlb.core.dhcp6.encode{fields of decode; type is needed} -> message */
int mlb_lua_dhcp6_encode(lua_State *L)
{
	struct mlb_dhcp6_message message = { 0 };
	uint8_t bytes[2 * MLB_DHCP6_MESSAGE_MOST];
	const char *type;
	size_t length;

	luaL_checktype(L, 1, LUA_TTABLE);
	type = mlb_check_string(L, 1, "type");
	message.type = mlb_dhcp6_type_of(type);
	if (!message.type)
		luaL_error(L, "type: solicit, advertise, ... expected, got %s", type);
	message.xid = (uint32_t)mlb_opt_integer(L, 1, "xid", 0, 0, 0xffffff);
	message.elapsed_cs = (uint16_t)mlb_opt_integer(L, 1, "elapsed", 0, 0, UINT16_MAX);
	message.preference = (uint8_t)mlb_opt_integer(L, 1, "preference", 0, 0, UINT8_MAX);
	message.status = (uint16_t)mlb_opt_integer(L, 1, "status", 0, 0, UINT16_MAX);
	message.solicit_max_s = (uint32_t)mlb_opt_integer(L, 1, "solicit_max", 0, 0, UINT32_MAX);
	mlb_field_duid(L, 1, "client", &message.client);
	mlb_field_duid(L, 1, "server", &message.server);
	message.text_length = field_bytes(L, 1, "message", sizeof(message.text), message.text);
	message.fqdn_length = field_bytes(L, 1, "fqdn", sizeof(message.fqdn), message.fqdn);
	if (lua_getfield(L, 1, "ia") != LUA_TNIL)
		read_ia(L, &message);
	lua_pop(L, 1);
	if (mlb_dhcp6_encode(&message, bytes, sizeof(bytes), &length) < 0)
		return luaL_error(L, "the options are too long for one message");
	lua_pushlstring(L, (const char *)bytes, length);
	return 1;
}

/* moonlb.core.dhcp6.wrap{source_mac=, destination_mac=, source=, destination=, source_port=547, destination_port=546,
 * payload=} -> frame */
int mlb_lua_dhcp6_wrap(lua_State *L)
{
	struct mlb_datagram6 datagram = { 0 };
	uint8_t frame[4096];
	size_t length;

	luaL_checktype(L, 1, LUA_TTABLE);
	mlb_field_mac(L, "source_mac", false, datagram.source_mac);
	mlb_field_mac(L, "destination_mac", false, datagram.destination_mac);
	mlb_field_in6(L, 1, "source", &datagram.source);
	mlb_field_in6(L, 1, "destination", &datagram.destination);
	datagram.source_port = (uint16_t)mlb_opt_integer(L, 1, "source_port", MLB_DHCP6_SERVER_PORT, 0, UINT16_MAX);
	datagram.destination_port = (uint16_t)mlb_opt_integer(L, 1, "destination_port", MLB_DHCP6_CLIENT_PORT, 0, UINT16_MAX);
	mlb_check_string(L, 1, "payload");
	lua_getfield(L, 1, "payload");
	datagram.payload = (const uint8_t *)lua_tolstring(L, -1, &datagram.length);
	if (mlb_datagram6_wrap(&datagram, frame, sizeof(frame), &length) < 0)
		return luaL_error(L, "payload: %d octets are too long for a frame", (int)datagram.length);
	lua_pushlstring(L, (const char *)frame, length);
	return 1;
}

/* moonlb.core.dhcp6.unwrap(frame) -> the fields of wrap | nil, message, "EBADMSG" */
int mlb_lua_dhcp6_unwrap(lua_State *L)
{
	struct mlb_datagram6 datagram;
	size_t length;
	const char *frame = luaL_checklstring(L, 1, &length);
	const char *why;

	if (mlb_datagram6_unwrap((const uint8_t *)frame, length, &datagram, &why) < 0)
		return mlb_push_failure(L, lua_pushfstring(L, "not a UDP datagram: %s", why), "EBADMSG");
	lua_createtable(L, 0, 7);
	mlb_set_mac(L, "source_mac", datagram.source_mac);
	mlb_set_mac(L, "destination_mac", datagram.destination_mac);
	mlb_set_address(L, "source", AF_INET6, &datagram.source);
	mlb_set_address(L, "destination", AF_INET6, &datagram.destination);
	set_integer(L, "source_port", datagram.source_port);
	set_integer(L, "destination_port", datagram.destination_port);
	lua_pushlstring(L, (const char *)datagram.payload, datagram.length);
	lua_setfield(L, -2, "payload");
	return 1;
}
