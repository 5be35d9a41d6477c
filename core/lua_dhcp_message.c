/* core/lua_dhcp_message.c: messages, frames and identities of module `moonlb.core.dhcp`; mechanism is core/dhcp.c,
 * core/datagram.c and core/dhcp_identity.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "datagram.h"
#include "lua_dhcp.h"
#include "lua_util.h"
#include "lua_wire.h"

uint32_t mlb_field_host_ipv4(lua_State *L, int table, const char *name)
{
	const char *text = mlb_opt_string(L, table, name, NULL);
	struct in_addr address = { 0 };

	if (text && inet_pton(AF_INET, text, &address) != 1)
		luaL_error(L, "%s: IPv4 address expected, got %s", name, text);
	return ntohl(address.s_addr);
}

void mlb_set_host_ipv4(lua_State *L, const char *name, uint32_t address)
{
	const struct in_addr in = { htonl(address) };

	if (address)
		mlb_set_address(L, name, AF_INET, &in);
}

void mlb_field_dhcp_bytes(lua_State *L, int table, const char *name, size_t most, struct mlb_dhcp_bytes *ret_bytes)
{
	const char *bytes;

	mlb_opt_string(L, table, name, NULL);
	lua_getfield(L, table, name);
	bytes = lua_tolstring(L, -1, &ret_bytes->length);
	if (!bytes)
		ret_bytes->length = 0;
	if (ret_bytes->length > most)
		luaL_error(L, "%s: %d octets at most expected, got %d", name, (int)most, (int)ret_bytes->length);
	if (ret_bytes->length)
		memcpy(ret_bytes->bytes, bytes, ret_bytes->length);
	lua_pop(L, 1);
}

static void set_integer(lua_State *L, const char *name, bool is_present, lua_Integer value)
{
	if (!is_present)
		return;
	lua_pushinteger(L, value);
	lua_setfield(L, -2, name);
}

static void set_bytes(lua_State *L, const char *name, const struct mlb_dhcp_bytes *bytes)
{
	if (bytes->length == 0)
		return;
	lua_pushlstring(L, (const char *)bytes->bytes, bytes->length);
	lua_setfield(L, -2, name);
}

static void push_message(lua_State *L, const struct mlb_dhcp_message *message)
{
	char fqdn[256];

	lua_createtable(L, 0, 16);
	lua_pushstring(L, mlb_dhcp_type_name(message->type));
	lua_setfield(L, -2, "type");
	set_integer(L, "op", true, message->op);
	set_integer(L, "hops", true, message->hops);
	set_integer(L, "xid", true, message->xid);
	set_integer(L, "secs", true, message->secs);
	lua_pushboolean(L, message->is_broadcast);
	lua_setfield(L, -2, "is_broadcast");
	mlb_set_host_ipv4(L, "ciaddr", message->ciaddr);
	mlb_set_host_ipv4(L, "yiaddr", message->yiaddr);
	mlb_set_host_ipv4(L, "siaddr", message->siaddr);
	mlb_set_host_ipv4(L, "giaddr", message->giaddr);
	mlb_set_mac(L, "chaddr", message->chaddr);
	mlb_set_host_ipv4(L, "server", message->server);
	mlb_set_host_ipv4(L, "requested", message->requested);
	mlb_set_host_ipv4(L, "mask", message->mask);
	mlb_set_host_ipv4(L, "router", message->router);
	set_integer(L, "seconds", message->has_lease, message->lease_s);
	set_integer(L, "t1", message->has_t1, message->t1_s);
	set_integer(L, "t2", message->has_t2, message->t2_s);
	set_integer(L, "max_message", message->max_message, message->max_message);
	set_bytes(L, "client_id", &message->client_id);
	set_bytes(L, "host_name", &message->host_name);
	set_bytes(L, "message", &message->text);
	set_bytes(L, "parameters", &message->parameters);
	if (mlb_dhcp_get_fqdn(&message->fqdn, fqdn)) {
		lua_pushstring(L, fqdn);
		lua_setfield(L, -2, "fqdn");
	}
}

/* moonlb.core.dhcp.decode(message) -> table | nil, message, "EBADMSG": a BOOTP message, without frame. */
int mlb_lua_dhcp_decode(lua_State *L)
{
	struct mlb_dhcp_message message;
	size_t length;
	const char *bytes = luaL_checklstring(L, 1, &length);
	const char *why;

	if (mlb_dhcp_decode((const uint8_t *)bytes, length, &message, &why) < 0)
		return mlb_push_failure(L, lua_pushfstring(L, "not a DHCP message: %s", why), "EBADMSG");
	push_message(L, &message);
	return 1;
}

static bool field_number(lua_State *L, const char *name, uint32_t *ret_value)
{
	lua_Integer value = mlb_opt_integer(L, 1, name, -1, 0, UINT32_MAX);

	if (value < 0)
		return false;
	*ret_value = (uint32_t)value;
	return true;
}

static void read_message(lua_State *L, struct mlb_dhcp_message *message)
{
	const char *type = mlb_check_string(L, 1, "type"), *fqdn = mlb_opt_string(L, 1, "fqdn", NULL);

	message->type = mlb_dhcp_type_of(type);
	if (!message->type)
		luaL_error(L, "type: discover, offer, request, decline, ack, nak, release or inform expected, got %s", type);
	message->op = (uint8_t)mlb_opt_integer(L, 1, "op", 1, 1, 2);
	message->hops = (uint8_t)mlb_opt_integer(L, 1, "hops", 0, 0, UINT8_MAX);
	message->xid = (uint32_t)mlb_opt_integer(L, 1, "xid", 0, 0, UINT32_MAX);
	message->secs = (uint16_t)mlb_opt_integer(L, 1, "secs", 0, 0, UINT16_MAX);
	message->is_broadcast = mlb_opt_boolean(L, 1, "is_broadcast", false);
	message->ciaddr = mlb_field_host_ipv4(L, 1, "ciaddr");
	message->yiaddr = mlb_field_host_ipv4(L, 1, "yiaddr");
	message->siaddr = mlb_field_host_ipv4(L, 1, "siaddr");
	message->giaddr = mlb_field_host_ipv4(L, 1, "giaddr");
	mlb_field_mac(L, "chaddr", false, message->chaddr);
	message->server = mlb_field_host_ipv4(L, 1, "server");
	message->requested = mlb_field_host_ipv4(L, 1, "requested");
	message->mask = mlb_field_host_ipv4(L, 1, "mask");
	message->router = mlb_field_host_ipv4(L, 1, "router");
	message->has_lease = field_number(L, "seconds", &message->lease_s);
	message->has_t1 = field_number(L, "t1", &message->t1_s);
	message->has_t2 = field_number(L, "t2", &message->t2_s);
	message->max_message = (uint16_t)mlb_opt_integer(L, 1, "max_message", 0, 0, UINT16_MAX);
	mlb_field_dhcp_bytes(L, 1, "client_id", MLB_DHCP_OPTION_MOST, &message->client_id);
	mlb_field_dhcp_bytes(L, 1, "host_name", MLB_DHCP_OPTION_MOST, &message->host_name);
	mlb_field_dhcp_bytes(L, 1, "message", MLB_DHCP_OPTION_MOST, &message->text);
	mlb_field_dhcp_bytes(L, 1, "parameters", MLB_DHCP_OPTION_MOST, &message->parameters);
	if (fqdn && mlb_dhcp_set_fqdn(&message->fqdn, fqdn) < 0)
		luaL_error(L, "fqdn: host name expected, got %s", fqdn);
}

/* moonlb.core.dhcp.encode{fields of decode; type and chaddr are needed} -> message */
int mlb_lua_dhcp_encode(lua_State *L)
{
	struct mlb_dhcp_message message = { 0 };
	uint8_t bytes[4 * MLB_DHCP_OPTION_MOST + MLB_DHCP_MESSAGE_MOST];
	size_t length;

	luaL_checktype(L, 1, LUA_TTABLE);
	read_message(L, &message);
	if (mlb_dhcp_encode(&message, bytes, sizeof(bytes), &length) < 0)
		return luaL_error(L, "the options are too long for one message");
	lua_pushlstring(L, (const char *)bytes, length);
	return 1;
}

/* moonlb.core.dhcp.wrap{source_mac=, destination_mac=, source=, destination=, source_port=, destination_port=, payload=}
 * -> frame */
int mlb_lua_dhcp_wrap(lua_State *L)
{
	struct mlb_datagram datagram = { 0 };
	uint8_t frame[4096];
	size_t length;

	luaL_checktype(L, 1, LUA_TTABLE);
	mlb_field_mac(L, "source_mac", false, datagram.source_mac);
	mlb_field_mac(L, "destination_mac", false, datagram.destination_mac);
	datagram.source = mlb_field_host_ipv4(L, 1, "source");
	datagram.destination = mlb_field_host_ipv4(L, 1, "destination");
	datagram.source_port = (uint16_t)mlb_opt_integer(L, 1, "source_port", MLB_DHCP_SERVER_PORT, 0, UINT16_MAX);
	datagram.destination_port = (uint16_t)mlb_opt_integer(L, 1, "destination_port", MLB_DHCP_CLIENT_PORT, 0, UINT16_MAX);
	mlb_check_string(L, 1, "payload");
	lua_getfield(L, 1, "payload");
	datagram.payload = (const uint8_t *)lua_tolstring(L, -1, &datagram.length);
	if (mlb_datagram_wrap(&datagram, frame, sizeof(frame), &length) < 0)
		return luaL_error(L, "payload: %d octets are too long for a frame", (int)datagram.length);
	lua_pushlstring(L, (const char *)frame, length);
	return 1;
}

/* moonlb.core.dhcp.unwrap(frame) -> the fields of wrap | nil, message, "EBADMSG" */
int mlb_lua_dhcp_unwrap(lua_State *L)
{
	struct mlb_datagram datagram;
	size_t length;
	const char *frame = luaL_checklstring(L, 1, &length);
	const char *why;

	if (mlb_datagram_unwrap((const uint8_t *)frame, length, &datagram, &why) < 0)
		return mlb_push_failure(L, lua_pushfstring(L, "not a UDP datagram: %s", why), "EBADMSG");
	lua_createtable(L, 0, 7);
	mlb_set_mac(L, "source_mac", datagram.source_mac);
	mlb_set_mac(L, "destination_mac", datagram.destination_mac);
	mlb_set_address(L, "source", AF_INET, &(struct in_addr){ htonl(datagram.source) });
	mlb_set_address(L, "destination", AF_INET, &(struct in_addr){ htonl(datagram.destination) });
	set_integer(L, "source_port", true, datagram.source_port);
	set_integer(L, "destination_port", true, datagram.destination_port);
	lua_pushlstring(L, (const char *)datagram.payload, datagram.length);
	lua_setfield(L, -2, "payload");
	return 1;
}

void mlb_check_dhcp_identity(lua_State *L, struct mlb_dhcp_identity *ret_identity)
{
	const char *texts[3];
	size_t length;

	for (int i = 0; i < 3; i++) {
		texts[i] = luaL_checklstring(L, i + 1, &length);
		luaL_argcheck(L, strlen(texts[i]) == length, i + 1, "text without NUL expected");
	}
	if (mlb_dhcp_identify(texts, 3, ret_identity) < 0)
		luaL_error(L, "libcrypto has no SHA-256");
}

/* moonlb.core.dhcp.client_id(identity, namespace, name) -> bytes */
int mlb_lua_dhcp_client_id(lua_State *L)
{
	struct mlb_dhcp_identity identity;
	uint8_t id[MLB_CLIENT_ID_SIZE];

	mlb_check_dhcp_identity(L, &identity);
	mlb_dhcp_client_id(&identity, id);
	lua_pushlstring(L, (const char *)id, sizeof(id));
	return 1;
}

/* moonlb.core.dhcp.mac(identity, namespace, name) -> "02:..." */
int mlb_lua_dhcp_mac(lua_State *L)
{
	struct mlb_dhcp_identity identity;
	char text[MLB_MAC_TEXT];

	mlb_check_dhcp_identity(L, &identity);
	mlb_mac_format(identity.mac, text);
	lua_pushstring(L, text);
	return 1;
}
