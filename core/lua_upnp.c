/* core/lua_upnp.c: module `moonlb.core.upnp`; mechanism is core/upnp.c. Sockets, HTTP and time are Lua's. */
#include <string.h>

#include "lua_util.h"
#include "upnp.h"

#define MAX_ARGUMENTS 16

/* moonlb.core.upnp.encode_search(target[, host = SSDP_GROUP[, mx = 1]]) -> bytes: an M-SEARCH, to be sent to `host` */
static int upnp_encode_search(lua_State *L)
{
	const char *target = luaL_checkstring(L, 1);
	const char *host = luaL_optstring(L, 2, MLB_SSDP_GROUP);
	lua_Integer mx = luaL_optinteger(L, 3, 1);
	char text[512];
	int length;

	luaL_argcheck(L, mx >= 1 && mx <= 5, 3, "1 to 5 seconds expected");
	length = mlb_ssdp_encode_search(host, target, (unsigned int)mx, text, sizeof(text));
	luaL_argcheck(L, length > 0, 1, "too long");
	lua_pushlstring(L, text, (size_t)length);
	return 1;
}

static void set_string(lua_State *L, const char *field, const char *text)
{
	lua_pushstring(L, text);
	lua_setfield(L, -2, field);
}

static void push_url(lua_State *L, const struct mlb_upnp_url *url)
{
	lua_createtable(L, 0, 4);
	set_string(L, "host", url->host);
	set_string(L, "path", url->path);
	lua_pushinteger(L, url->port);
	lua_setfield(L, -2, "port");
}

/* moonlb.core.upnp.decode_ssdp(bytes) -> {type = "answer"|"alive"|"byebye", target, location = {host, port, path}|nil, boot_id|nil}
 * | nil, message, "EBADMSG" */
static int upnp_decode_ssdp(lua_State *L)
{
	static const char *const types[] = { "answer", "alive", "byebye" };
	struct mlb_ssdp_message message;
	const char *why;
	size_t length;
	const char *bytes = luaL_checklstring(L, 1, &length);

	if (mlb_ssdp_decode(bytes, length, &message, &why) < 0)
		return mlb_push_failure(L, lua_pushfstring(L, "not a message of SSDP: %s", why), "EBADMSG");
	lua_createtable(L, 0, 4);
	set_string(L, "type", types[message.type]);
	set_string(L, "target", message.target);
	if (message.has_location) {
		push_url(L, &message.location);
		lua_setfield(L, -2, "location");
	}
	if (message.has_boot_id) {
		lua_pushinteger(L, message.boot_id);
		lua_setfield(L, -2, "boot_id");
	}
	return 1;
}

static void push_service(lua_State *L, const struct mlb_upnp_service *service)
{
	push_url(L, &service->control);
	set_string(L, "type", service->type);
}

/* moonlb.core.upnp.decode_description(xml, host, port, path) -> {connections = {{type, host, port, path}, ...}, firewall = the same|nil}
 * | nil, message, "EBADMSG": the description read at that place tells of no gateway, or of one that is elsewhere */
static int upnp_decode_description(lua_State *L)
{
	size_t length;
	const char *xml = luaL_checklstring(L, 1, &length);
	const char *host = luaL_checkstring(L, 2);
	lua_Integer port = luaL_checkinteger(L, 3);
	const char *path = luaL_checkstring(L, 4);
	const char *url = lua_pushfstring(L, strchr(host, ':') ? "http://[%s]:%I%s" : "http://%s:%I%s", host, port, path);
	struct mlb_upnp_gateway gateway;
	const char *why;
	int count = 0;

	if (mlb_upnp_decode_description(xml, length, url, host, &gateway, &why) < 0)
		return mlb_push_failure(L, lua_pushfstring(L, "%s: %s", url, why), "EBADMSG");
	lua_createtable(L, 0, 2);
	lua_createtable(L, 2, 0);	/* gateway connections */
	for (size_t i = 0; i < 2; i++) {
		if (gateway.connections[i].type[0] == '\0')
			continue;
		push_service(L, &gateway.connections[i]);
		lua_rawseti(L, -2, ++count);
	}
	lua_setfield(L, -2, "connections");
	if (gateway.firewall.type[0]) {
		push_service(L, &gateway.firewall);
		lua_setfield(L, -2, "firewall");
	}
	return 1;
}

/* The pairs of the array at 3: `{{name, value}, ...}`. Their strings stay valid while the table does. */
static size_t check_arguments(lua_State *L, struct mlb_upnp_argument arguments[MAX_ARGUMENTS])
{
	lua_Integer count = luaL_len(L, 3);

	luaL_argcheck(L, count <= MAX_ARGUMENTS, 3, "at most 16 arguments");
	for (lua_Integer i = 0; i < count; i++) {
		luaL_argcheck(L, lua_rawgeti(L, 3, i + 1) == LUA_TTABLE, 3, "pairs of name and value expected");
		if (lua_rawgeti(L, -1, 1) != LUA_TSTRING || lua_rawgeti(L, -2, 2) != LUA_TSTRING)
			luaL_argerror(L, 3, "names and values are strings");
		arguments[i].name = lua_tostring(L, -2);
		arguments[i].value = lua_tostring(L, -1);
		lua_pop(L, 3);
	}
	return (size_t)count;
}

/* moonlb.core.upnp.encode_action(service_type, action, {{name, value}, ...}) -> xml | nil, message, "EMSGSIZE" */
static int upnp_encode_action(lua_State *L)
{
	const char *service_type = luaL_checkstring(L, 1), *action = luaL_checkstring(L, 2);
	struct mlb_upnp_argument arguments[MAX_ARGUMENTS];
	char xml[MLB_UPNP_REQUEST_MOST];
	int length;

	luaL_checktype(L, 3, LUA_TTABLE);
	length = mlb_upnp_encode_action(service_type, action, arguments, check_arguments(L, arguments), xml, sizeof(xml));
	if (length < 0)
		return mlb_push_error(L, length, "%s of %s", action, service_type);
	lua_pushlstring(L, xml, (size_t)length);
	return 1;
}

/* Filled while miniupnpc's list is held, which a longjmp would leak: plain C until that is freed. */
struct collected {
	size_t length;
	char text[MLB_UPNP_XML_MOST];
};

static void collect(void *context, const char *name, const char *value)
{
	struct collected *all = context;
	size_t name_size = strlen(name) + 1, value_size = strlen(value) + 1;

	if (name_size + value_size > sizeof(all->text) - all->length)
		return;
	memcpy(all->text + all->length, name, name_size);
	memcpy(all->text + all->length + name_size, value, value_size);
	all->length += name_size + value_size;
}

/* moonlb.core.upnp.decode_answer(xml) -> {name = text, ...} | nil, message, "EMSGSIZE": what the elements of a SOAP answer say; of
 * two of one name, the first in the answer */
static int upnp_decode_answer(lua_State *L)
{
	size_t length;
	const char *xml = luaL_checklstring(L, 1, &length);
	struct collected *all = lua_newuserdatauv(L, sizeof(*all), 0);
	int err;

	all->length = 0;
	err = mlb_upnp_decode_answer(xml, length, collect, all);
	if (err < 0)
		return mlb_push_error(L, err, "an answer of %d bytes", (int)length);
	lua_newtable(L);
	for (const char *name = all->text; name < all->text + all->length;) {
		const char *value = name + strlen(name) + 1;

		set_string(L, name, value);	/* the list holds the last first */
		name = value + strlen(value) + 1;
	}
	return 1;
}

/* moonlb.core.upnp.error_text(code) -> words | nil */
static int upnp_error_text(lua_State *L)
{
	lua_pushstring(L, mlb_upnp_error_text((int)luaL_checkinteger(L, 1)));
	return 1;
}

static const luaL_Reg functions[] = {
	{ "decode_answer", upnp_decode_answer },
	{ "decode_description", upnp_decode_description },
	{ "decode_ssdp", upnp_decode_ssdp },
	{ "encode_action", upnp_encode_action },
	{ "encode_search", upnp_encode_search },
	{ "error_text", upnp_error_text },
	{ NULL, NULL },
};

int luaopen_moonlb_core_upnp(lua_State *L);

int luaopen_moonlb_core_upnp(lua_State *L)
{
	luaL_newlib(L, functions);
	lua_pushinteger(L, MLB_SSDP_PORT);
	lua_setfield(L, -2, "SSDP_PORT");
	lua_pushliteral(L, MLB_SSDP_GROUP);
	lua_setfield(L, -2, "SSDP_GROUP");
	return 1;
}
